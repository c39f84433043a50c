"""One setting as a labelled control, made from its field in the settings object."""

from __future__ import annotations

import math
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from magicgui.widgets import create_widget
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QWidget

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

AUTOMATIC = "automatic"


class SettingRow:
    """A control for one field: number, choice, switch or pair of numbers.

    A number that may be None shows ``automatic`` below its smallest value.

    Parameters
    ----------
    section, name
        Where the field is in the settings.
    field
        Its type, limits, title, description and unit.
    """

    def __init__(self, section: str, name: str, field: FieldInfo) -> None:
        self.section, self.name = section, name
        self.title = field.title or name
        extra = field.json_schema_extra
        extra = extra if isinstance(extra, dict) else {}
        self.basic = bool(extra.get("basic"))
        self.default = field.default
        self._optional, kind = _without_none(field.annotation)
        self._automatic: float | None = None
        options: dict[str, Any] = {}
        if kind in (int, float):
            options = self._number_options(kind, field)
        elif get_origin(kind) is Literal:
            options = {"choices": list(get_args(kind))}
        elif get_origin(kind) is tuple:
            kind = tuple[int, int]
            options = {"options": {"min": -5, "max": 5}}
        value = self._automatic if field.default is None else field.default
        # whole numbers too: magicgui's own box for those knows neither "automatic" nor units
        shown: Any = float if kind is int else kind
        self._whole = kind is int
        self.control: Any = create_widget(
            value=value, annotation=shown, name=name, label=self.title, options=options
        )
        self.native: QWidget = self.control.native
        self._dress(kind, field, str(extra.get("unit", "")))
        self.value = field.default  # again, with all its decimals

    @property
    def value(self) -> Any:
        """What is set; None for automatic."""
        value = self.control.value
        if self._automatic is not None and value <= self._automatic:
            return None
        return round(value) if self._whole else value

    @value.setter
    def value(self, value: Any) -> None:
        self.control.value = self._automatic if value is None else value

    def _number_options(self, kind: type, field: FieldInfo) -> dict[str, Any]:
        low, high = _limits(kind, field)
        step = _step(kind, field.default, high)
        if self._optional:
            self._automatic = low - step
            low = self._automatic
        return {"min": low, "max": high, "step": step}

    def _dress(self, kind: Any, field: FieldInfo, unit: str) -> None:
        name = f"{self.section}.{self.name}"
        self.native.setToolTip(f"<p>{field.description}</p><p><i>{name}</i></p>")
        self.native.setAccessibleName(self.title)
        for number, part in enumerate(self.native.findChildren(QAbstractSpinBox), 1):
            part.setAccessibleName(f"{self.title}, number {number}")
            part.setToolTip(self.native.toolTip())
        # the longest word that can stand there, between the two signs for less and more
        self.native.setMinimumWidth(self.native.fontMetrics().horizontalAdvance(AUTOMATIC) + 72)
        if kind is bool:
            self.native.setText("")  # its label says it
        if kind in (int, float):
            decimals = 0 if kind is int else _decimals(self.control.step, field.default)
            self.native.setDecimals(decimals)
            if unit:
                self.native.setSuffix(f" {unit}")
            if self._optional:
                self.native.setSpecialValueText(AUTOMATIC)
        ignore_wheel(self.native)


class _WheelGuard(QObject):
    """Passes the wheel on to the page unless the control has the focus."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def ignore_wheel(widget: QWidget) -> None:
    """Keep scrolling over a form from changing the numbers and choices in it."""
    for control in (widget, *widget.findChildren(QWidget)):
        if isinstance(control, QAbstractSpinBox | QComboBox):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            control.installEventFilter(_WheelGuard(control))


def _without_none(annotation: Any) -> tuple[bool, Any]:
    kinds = get_args(annotation)
    if NoneType in kinds:
        return True, next(kind for kind in kinds if kind is not NoneType)
    return False, annotation


def _limits(kind: type, field: FieldInfo) -> tuple[float, float]:
    low, high = (-1e9, 1e9)
    tiny: float = 1 if kind is int else 1e-6
    for limit in field.metadata:
        low = getattr(limit, "ge", low)
        high = getattr(limit, "le", high)
        if hasattr(limit, "gt"):
            low = limit.gt + tiny
        if hasattr(limit, "lt"):
            high = limit.lt - tiny
    if kind is int:
        high = min(high, 2**31 - 1)
    return kind(low), kind(high)


def _step(kind: type, default: float | None, high: float) -> float:
    if kind is int:
        return 1
    if default:
        return float(10.0 ** min(0, math.floor(math.log10(abs(default)))))
    return 0.0001 if high <= 0.1 else 0.5


def _decimals(step: float, default: float | None) -> int:
    needed = 0 if default is None else len(f"{default:f}".rstrip("0").partition(".")[2])
    return min(6, max(1, 1 - math.floor(math.log10(step)), needed))
