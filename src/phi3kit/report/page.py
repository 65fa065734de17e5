"""The page that every HTML report is drawn on: one file, nothing from the net."""

from __future__ import annotations

import base64
import hashlib
from typing import Any


def render(template: str, styles: str, *, script: str | None = None, **values: Any) -> str:
    """A page of `templates/`; whatever stands in `values` as plain text is escaped.

    Its content security policy allows the style sheet and the script by their hashes, and no
    other style, script or resource.

    Args:
        template: a template that extends page.html.j2; it needs `heading` among the values.
        styles: its own style sheet, which goes after page.css.
        script: of `templates/`; it stands at the page's end and is the only one that the policy
            allows, by its hash. Without one no script runs at all.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("phi3kit.report"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    css = "\n".join(environment.loader.get_source(environment, name)[0]  # type: ignore[union-attr]
                    for name in ("page.css", styles))
    code = environment.loader.get_source(  # type: ignore[union-attr]
        environment, script)[0] if script else ""
    return environment.get_template(template).render(
        css=markupsafe.Markup(css), style_src=markupsafe.Markup(_hash(css)),
        script=markupsafe.Markup(code), script_src=markupsafe.Markup(_hash(code) if code else ""),
        **values)


def _hash(text: str) -> str:
    """A source of a content security policy that allows just this inline text."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
