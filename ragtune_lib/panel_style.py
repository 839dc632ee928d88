"""How the curation panel looks, and what its buttons and keys are called."""

from __future__ import annotations

from ragtune_lib.curation.card import FONT
from ragtune_lib.keys import PANEL, SCROLLED

REASONS = {  # why pairs are dropped, most often: what the button says, what is written down; keys 1 to 6
    "unsupported": "not in the source",
    "wrong": "wrong answer",
    "unclear": "unclear question",
    "trivial": "not worth learning",
    "repeated": "asked twice",
    "private": "private or harmful",
}
BUTTONS = {  # label, style, tooltip
    "keep": ("Keep (a)", "success", "use the pair in the wording shown"),
    "drop": ("Drop (x)", "danger", "do not use the pair; the note is the reason"),
    "edit": ("Edit (e)", "info", "change the wording"),
    "flag": ("Flag (f)", "", "mark it for somebody else; decides nothing"),
    "skip": ("Skip (space)", "", "come back to it after the others; decides nothing"),
    "undo": ("Undo (u)", "", "take back your last step"),
    "redo": ("Redo (r)", "", "do again what was taken back"),
    "previous": ("\u25c0 (k)", "", "the pair before this one in the list"),
    "next": ("\u25b6 (j)", "", "the pair after this one in the list"),
    "save": ("Save edit (Ctrl+S)", "info", "use the pair in the wording typed here"),
    "revert": ("Revert", "", "put the original wording back"),
    "close": ("Close (Esc)", "", "stop editing; what was typed stays as a draft"),
    "note": ("Add note", "", "write the note down; it decides nothing"),
    "rewrite": ("New wording (g)", "", "send the pair back to the teacher; the note is the reason"),
    "accept": ("Use the new wording", "success", "an edit with the teacher's new wording"),
    "decline": ("Leave the old", "", "forget the teacher's new wording"),
    "confirm": ("Still holds", "info", "the pair has changed since its decision: decide the same again"),
    **{
        f"drop_{number}": (f"{number} {label}", "", f"drop: {text}")
        for number, (label, text) in enumerate(REASONS.items(), 1)
    },
    "history": ("History", "", "what was decided last; a click shows the pair"),
    "bulk": ("Many at once", "", "decide about every pair of the list"),
    "quality": ("Quality", "", "how many errors are left, and whether people agree"),
    "guidelines": ("Guidelines", "", "what the team has agreed on"),
    "help": ("Keys (?)", "", "what the keys do"),
}
KEYS = {
    "a": "keep", "x": "drop", "e": "edit", "f": "flag", " ": "skip", "u": "undo", "r": "redo", "j": "next",
    "k": "previous", "g": "rewrite", "n": "write_note", "/": "search", "?": "help", "Escape": "close",
    "Ctrl+s": "save", "Ctrl+z": "undo", "Ctrl+y": "redo",
    **{str(number): f"drop_{number}" for number in range(1, len(REASONS) + 1)},
}  # fmt: skip
_WITHOUT_BUTTON = {
    "write_note": "write a note or a reason; Enter or Esc goes back",
    "search": "search; Enter goes back to the card",
}
MEANINGS = {  # of each key's name, for the list of keys
    name: _WITHOUT_BUTTON.get(name) or BUTTONS[name][2] for name in dict.fromkeys(KEYS.values())
}
REPEATS = ("next", "previous")  # a held key goes on
EVERYWHERE = ("save", "close")  # also heard while somebody types; what is bound to Ctrl+S and Escape
ABOUT_CARD = frozenset({"keep", "drop", "edit", "flag", "skip", "save", "rewrite", *(f"drop_{n}" for n in range(1, 7))})

_P = f".{PANEL}"
STYLE = f"""<style>
{_P}{{position:relative;background:#fff;color:#1c1e21;color-scheme:light;border:2px solid #c3c9d0;border-radius:8px;
padding:8px 12px;overflow:visible;outline:none;--jp-ui-font-color0:#1c1e21;--jp-ui-font-color1:#1c1e21;
--jp-content-font-color1:#1c1e21;--jp-widgets-color:#1c1e21;--jp-widgets-label-color:#1c1e21;
--jp-widgets-input-color:#1c1e21;--jp-widgets-input-background-color:#fff;--jp-widgets-input-border-color:#7a838d;
--jp-widgets-readout-color:#1c1e21;--jp-layout-color1:#fff;--jp-layout-color2:#eef1f4;--jp-border-color1:#7a838d}}
{_P}:focus-within{{border-color:#0b5c9e}}
{_P} .widget-html-content{{color:#1c1e21;line-height:1.5}}
{_P} textarea{{font:14px/1.45 {FONT}!important}}
{_P} .{SCROLLED}>*{{flex-shrink:0}}
{_P} .{SCROLLED}:focus-visible{{outline:2px solid #0b5c9e;outline-offset:-2px}}
{_P} .rt-line{{white-space:nowrap;overflow:hidden;text-overflow:ellipsis;height:21px}}
{_P} input::placeholder,{_P} textarea::placeholder{{color:#56606b}}
{_P} .jupyter-button{{background:#eef1f4;color:#1c1e21;border:1px solid #aab2bb;border-radius:4px}}
{_P} .jupyter-button.mod-success{{background:#1b6e3c;color:#fff}}
{_P} .jupyter-button.mod-danger{{background:#b00020;color:#fff}}
{_P} .jupyter-button.mod-info{{background:#0b5c9e;color:#fff}}
{_P} .jupyter-button:focus-visible{{outline:3px solid #0b5c9e;outline-offset:1px}}
{_P} .jupyter-button.rt-reason{{height:24px;line-height:22px;font-size:12px;background:#fff}}
{_P} .jupyter-button.rt-row{{width:100%!important;text-align:left;background:#fff;border-color:#e1e4e8;margin:0 0 1px}}
{_P} .rt-bar{{display:flex;height:8px;background:#e1e4e8;border-radius:4px;overflow:hidden;margin:2px 0}}
{_P} .rt-bar i{{display:block;height:100%}}
{_P} .rt-keys::after{{content:none}}
{_P}[data-lm-suppress-shortcuts] .rt-keys::after{{content:"click the panel to use keys";color:#56606b}}
{_P}[data-lm-suppress-shortcuts]:focus-within .rt-keys::after{{content:"keys on, ? for help";color:#0b5c9e}}
{_P} .rt-help.widget-html{{position:absolute;z-index:9;top:90px;right:24px;background:#fff;border:2px solid #0b5c9e;
border-radius:8px;padding:10px 16px;box-shadow:0 4px 18px rgba(0,0,0,.25)}}
{_P} .rt-help td{{padding:1px 12px 1px 0;text-align:left;font-size:13px;background:#fff;color:#1c1e21}}
{_P} kbd{{background:#eef1f4;border:1px solid #aab2bb;border-radius:3px;padding:0 5px;font:12px ui-monospace,monospace}}
{_P} .rt-state{{font-size:12px;color:#56606b}}
{_P} .rt-state b{{color:#1c1e21}}
{_P} .rt-told{{background:#e7f1fa;color:#1c1e21;border-left:4px solid #0b5c9e;padding:1px 9px}}
</style>"""
