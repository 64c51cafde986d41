"""Text in HTML, that no name can break out of."""

from __future__ import annotations

import html

from extractors.uri import printable


def text(value: object) -> str:
    """A value as HTML text or attribute.

    >>> text("<b> & 'a'")
    '&lt;b&gt; &amp; &#x27;a&#x27;'
    """
    return html.escape(printable(str(value)))
