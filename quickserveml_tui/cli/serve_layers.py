"""Values of `serve`, the strongest first: options, the serving profile, settings, defaults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quickserveml_tui.config.settings import ServeSettings

_DEFAULTS: dict[str, Any] = {
    "max_upload_mb": 4096,
    "max_delay_us": 0,
    "auth": "auto",
    "allowed_hosts": (),
    "allowed_origins": (),
    "tls_cert": "",
    "tls_key": "",
    "access_log": "",
    "grpc_port": None,
    "docs": True,
    "verify": True,
}
"""Of what is no setting."""


class Layers:
    """Looks values up; `profile` is the file's path as it was given, empty for none.

    Raises `UsageError` for a profile that is not valid.
    """

    def __init__(self, profile: str, settings: ServeSettings) -> None:
        path = Path(profile).expanduser().absolute() if profile else None
        self.folder = path.parent if path is not None else Path()
        """Where relative paths in the profile start."""
        self.profile = None
        if path is not None:
            from quickserveml_tui.services.profile_document import read_profile

            self.profile = read_profile(path)
        self._settings = settings

    def pick(self, name: str, option: Any) -> Any:
        """The option, unless it was not given (None, or empty), else what the next layer says."""
        if option not in (None, "", ()):
            return option
        said = self._in_profile(name)
        if said is not None:
            return said
        return _DEFAULTS[name] if name in _DEFAULTS else getattr(self._settings, name)

    def pick_file(self, name: str, option: str) -> str:
        """The absolute path of a file; `-` and nothing stay as they are."""
        said = option or self._in_profile(name) or ""
        if said in ("", "-"):
            return said
        start = Path() if option else self.folder
        return str((start / Path(said).expanduser()).absolute())

    def _in_profile(self, name: str) -> Any:
        if self.profile is None:
            return None
        return getattr(self.profile.server, name, getattr(self.profile, name, None))
