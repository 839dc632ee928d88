"""What every panel in a notebook has in common: buttons, a line for errors, and a table where no widget can live.

Importing this module loads ipywidgets.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

WRAP = "row wrap"  # flex flow of what stands beside each other


class ClickPanel(widgets.VBox):
    """A status line, a card, a row of buttons and a message; what a button does is in `actions`.

    A panel keeps no decision itself: a new one goes on where the last one stopped.

    Args:
        buttons: label, style and tooltip of each, by its name in `actions`.
    """

    def __init__(self, buttons: Mapping[str, tuple[str, str, str]]):
        super().__init__()
        self.guard = threading.RLock()  # clicks may come on another thread than the notebook's cells
        self.status, self.message, self.card = (widgets.HTML() for _ in range(3))
        self.buttons = {
            name: widgets.Button(description=label, button_style=style, tooltip=tip)
            for name, (label, style, tip) in buttons.items()
        }
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.press(name))
        self.row = widgets.HBox(list(self.buttons.values()), layout=widgets.Layout(flex_flow=WRAP))
        self.children = [self.status, self.card, self.row, self.message]

    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What each button does."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show the state as it is now."""
        raise NotImplementedError

    def summary(self) -> str:
        """One line of plain text: how far the person is."""
        raise NotImplementedError

    def press(self, name: str) -> None:
        """Do what a button does."""
        self.run(self.actions()[name])

    def run(self, action: Callable[[], None]) -> None:
        """Do one thing and draw; its error is shown in the panel, since a notebook hides what a callback raises."""
        with self.guard:
            self.message.value = ""
            try:
                action()
                self.draw()
            except Exception as error:  # noqa: BLE001  the panel is the last place that can show it
                text = html.escape(f"{type(error).__name__}: {error}")
                self.message.value = f"<b style='color:#b00020'>{text}</b>"

    def table(self) -> str:
        """The state as escaped HTML that needs no widget."""
        return f"<p>{html.escape(self.summary())}</p>"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The widget where it can live, a table and a line of text elsewhere."""
        bundle = dict(super()._repr_mimebundle_(**kwargs) or {})
        return {**bundle, "text/html": self.table(), "text/plain": self.summary()}
