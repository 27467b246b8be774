"""The reference of the Python face: every name of ``boltzgen.__all__``, its signature and its docstring."""

from __future__ import annotations

import inspect
import re

from markdown_words import plain

import boltzgen

#: How numpydoc writes a section of a docstring.
_SECTION = re.compile(r"^([A-Z][a-z ]+)\n-{3,}$", re.MULTILINE)


def page() -> str:
    """The reference of names, functions first."""
    found = {name: getattr(boltzgen, name) for name in boltzgen.__all__ if name != "__version__"}
    groups = {
        "Functions": [name for name, value in found.items() if inspect.isfunction(value)],
        "Records": [
            name
            for name, value in found.items()
            if inspect.isclass(value) and not issubclass(value, Exception)
        ],
        "Errors": [
            name for name, value in found.items() if inspect.isclass(value) and issubclass(value, Exception)
        ],
    }
    text = [
        "# Python",
        "",
        "What `import boltzgen` offers; `help(boltzgen.sample)` says the same.",
        "[Python by example](../python.md) shows them at work.",
        "",
    ]
    for title, names in groups.items():
        text += [f"## {title}", ""]
        for name in names:
            text += [f"### {name}", "", *_entry(name, found[name])]
    return "\n".join(text)


def _entry(name, value):
    if inspect.isfunction(value):
        yield from ["```python", _signature(name, value), "```", ""]
    yield from _docstring(inspect.getdoc(value) or "", getattr(value, "__globals__", {}))


def _signature(name, value):
    """One parameter a line, as people would write them; annotations are strings in these modules."""
    parameters = []
    starred = False
    for parameter in inspect.signature(value).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            parameters.append("*")
        default = parameter.default
        words = f"{parameter.name}: {parameter.annotation}"
        if default is not inspect.Parameter.empty:
            words += f" = {getattr(default, '__name__', repr(default))}"
        parameters.append(words)
    returned = inspect.signature(value).return_annotation
    return "\n".join([f"{name}(", *(f"    {each}," for each in parameters), f") -> {returned}"])


def _docstring(text, known):
    """Paragraphs and numpydoc's sections; items of a section begin with ``name:`` at the margin.

    known: names of the module, among them the record whose fields are the options of a verb.
    """
    pieces = _SECTION.split(text)
    yield from [plain(pieces[0].strip()), ""]
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        yield from [f"**{title}**", ""]
        if title.startswith("Example"):
            yield from ["```pycon", body.strip("\n"), "```", ""]
        elif title in ("Notes", "Returns", "Raises"):
            yield from [plain(body.strip()), ""]
        else:
            named = (item.partition(": ") for item in _items(body, known))
            yield from (f"- `{name}`: {plain(meaning)}" for name, _, meaning in named)
            yield ""


def _items(body, known):
    """Each ``name: meaning`` on one line; for ``options: the fields of RECORD`` those of the record."""
    for item in re.split(r"\n(?=\S)", body.strip()):
        words = " ".join(item.split())
        record = re.match(r"options: the fields of `(?:[\w.]*\.)?(\w+)`", words)
        fields = _SECTION.split(inspect.getdoc(known[record[1]])) if record and record[1] in known else []
        if "Attributes" in fields:
            yield from _items(fields[fields.index("Attributes") + 1], {})
        else:
            yield words
