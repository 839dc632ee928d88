"""Keys for a panel: one small widget that hears what is pressed anywhere in the panel and tells Python its name.

Importing this module loads anywidget and ipywidgets. ipywidgets has no key events, and JupyterLab acts on keys of its
own where the focus is in an output: without the attribute that is set here, `d d` deletes the cell with the panel.
Without this widget a panel still works by its buttons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import traitlets

PANEL = "ragtune-panel"  # DOM class of what the keys belong to: the nearest ancestor that has it
FIELD = "ragtune-field-"  # DOM class of a text area, before the name of its field
SCROLLED = "ragtune-scrolled"  # DOM class of a part of the panel that scrolls by itself
Heard = Callable[[str, int, Mapping[str, str]], None]

_ESM = """
const TYPED = "textarea, select, input:not([type=checkbox]):not([type=radio]), [contenteditable=true]";
const PRESSED = "button, a, summary, input";

function render({ model, el }) {
  const ended = new AbortController();
  let root = null, pointer = false;

  // The text areas as they stand: what was typed last may still wait in the browser while the kernel is busy.
  const fields = () => {
    const mark = model.get("field"), found = {};
    for (const box of root.querySelectorAll(`[class*="${mark}"]`)) {
      const name = [...box.classList].find((each) => each.startsWith(mark)), area = box.querySelector("textarea");
      if (name && area) found[name.slice(mark.length)] = area.value;
    }
    return found;
  };
  const tell = (name) => model.send({ name, card: model.get("card"), fields: fields() });

  const nameOf = (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const held = event.ctrlKey || event.metaKey;
    return event.altKey ? undefined : model.get("bindings")[(held ? "Ctrl+" : "") + key];
  };
  const heard = (event) => {
    if (event.isComposing) return;
    const target = event.target, name = nameOf(event);
    if (target.closest(TYPED) && !model.get("everywhere").includes(name)) {
      // one line is finished with Enter: its text is told first, then the next key is the panel's again
      if (event.key === "Enter" && target.matches("input")) setTimeout(() => root.focus({ preventScroll: true }));
      return;
    }
    if (event.key === " " && target.closest(PRESSED)) return;  // presses the button that has the focus
    if (!name) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && !model.get("repeats").includes(name)) return;  // a held key decides once
    if (event.key === "Escape") root.focus({ preventScroll: true });
    tell(name);
  };

  // Back to the panel after a click, so that the next key is heard; who walks by Tab stays where he is.
  const clicked = (event) => {
    if (event.detail && event.target.closest("button")) root.focus({ preventScroll: true });
  };
  const pressed = (event) => {
    pointer = true;
    if (event.target.closest("button")) tell("typed");
  };
  const chosen = (event) => {
    if (pointer && event.target.closest("select")) root.focus({ preventScroll: true });
  };

  // What scrolls is reached by Tab, so that arrow keys scroll it; ipywidgets' boxes cannot say so themselves.
  const reachable = () => {
    for (const box of root.querySelectorAll(`.${model.get("scrolled")}`)) box.tabIndex = 0;
  };

  const claim = () => {
    if (ended.signal.aborted) return;
    root = el.closest(`.${model.get("panel")}`);
    if (!root) return requestAnimationFrame(claim);  // rendered before it is part of the page
    root.tabIndex = 0;
    root.setAttribute("role", "region");
    root.setAttribute("aria-label", model.get("label"));
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    const on = (type, act, capture) => root.addEventListener(type, act, { signal: ended.signal, capture });
    // on the way down: text areas of ipywidgets let no key up
    on("keydown", (event) => { pointer = false; heard(event); }, true);
    on("focusin", reachable);
    reachable();
    on("pointerdown", pressed, true);
    on("click", clicked);
    on("change", chosen);
  };

  const focus = (content, left = 60) => {
    if (content.top) return root?.scrollIntoView({ block: "nearest" });
    const lost = document.activeElement === document.body || root?.contains(document.activeElement);
    if (!root || !lost) return;  // the person is somewhere else by now
    const within = content.focus && `.${content.focus} textarea, .${content.focus} input`;
    const node = within ? root.querySelector(within) : root;
    if (node) node.focus({ preventScroll: node === root });
    else if (left) requestAnimationFrame(() => focus(content, left - 1));  // not drawn yet
  };
  model.on("msg:custom", focus);
  claim();
  return () => { ended.abort(); model.off("msg:custom", focus); };
}
export default { render };
"""


class KeyCatcher(anywidget.AnyWidget):
    """Hears the keys of the panel that it is a child of.

    Keys typed into text areas, text fields and lists are theirs, except for the names in `everywhere`. Space on a
    button that has the focus presses it. A key that is held down counts once, except for the names in `repeats`.

    Args:
        bindings: name to send by key, as in `KeyboardEvent.key`, letters small; "Ctrl+s" is with Ctrl or Command held.
        heard: called with the name, the number of the card that was on the screen when the key went down, and the
            wording of the text areas at that moment. A click on a button is announced as "typed" before it happens.
        repeats: names that a held key sends again and again.
        everywhere: names that are heard while somebody types, too.
        label: what a screen reader calls the panel.
    """

    _esm = _ESM
    bindings = traitlets.Dict().tag(sync=True)
    repeats = traitlets.List().tag(sync=True)
    everywhere = traitlets.List().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    panel = traitlets.Unicode(PANEL).tag(sync=True)
    field = traitlets.Unicode(FIELD).tag(sync=True)
    scrolled = traitlets.Unicode(SCROLLED).tag(sync=True)
    card = traitlets.Int(0).tag(sync=True)  # number of the card that is shown; set after its text, so never ahead of it

    def __init__(
        self,
        bindings: Mapping[str, str],
        heard: Heard,
        repeats: Sequence[str] = (),
        everywhere: Sequence[str] = (),
        label: str = "",
    ):
        super().__init__(bindings=dict(bindings), repeats=list(repeats), everywhere=list(everywhere), label=label)
        self.heard = heard
        self.on_msg(self._receive)

    def _receive(self, _: Any, content: Any, buffers: Any) -> None:
        name, fields = content.get("name"), content.get("fields") or {}
        if name in {*self.bindings.values(), "typed"}:
            self.heard(name, int(content.get("card", 0)), {key: str(text) for key, text in fields.items()})

    def focus(self, field: str = "") -> None:
        """Put the focus on the text area or text field with this DOM class, or on the panel."""
        self.send({"focus": field})

    def to_top(self) -> None:
        """Bring the top of the panel into sight, after a click below the card."""
        self.send({"top": True})
