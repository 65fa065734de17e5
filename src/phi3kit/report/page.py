"""The page that every HTML report is drawn on: one file, no script, nothing from the net."""

from __future__ import annotations

import base64
import hashlib
from typing import Any


def render(template: str, styles: str, *, style_attributes: bool = False,
           **values: Any) -> str:
    """A page of `templates/`; whatever stands in `values` as plain text is escaped.

    Args:
        template: a template that extends page.html.j2; it needs `heading` among the values.
        styles: its own style sheet, which goes after page.css.
        style_attributes: the template holds style attributes (matplotlib writes them). Without
            them the policy allows the page's own style sheet by its hash, and no other style.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("phi3kit.report"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    css = "\n".join(environment.loader.get_source(environment, name)[0]  # type: ignore[union-attr]
                    for name in ("page.css", styles))
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    allowed = "'unsafe-inline'" if style_attributes else f"'sha256-{digest}'"
    return environment.get_template(template).render(
        css=markupsafe.Markup(css), style_src=markupsafe.Markup(allowed), **values)
