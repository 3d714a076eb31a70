"""Where a request goes, whatever sub-path a proxy serves the portal under."""

from starlette.types import Scope


def below_root(scope: Scope) -> str:
    """The path below our sub-path, which a server may say again in the path, or not."""
    path, root = scope["path"], scope.get("root_path", "")
    return str(path[len(root) :] if root and path.startswith(f"{root}/") else path)
