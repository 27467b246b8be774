"""The one place where YAML is parsed: plain keys and plain values, of bounded depth and size.

PyYAML's safe loader makes no Python objects, but it follows aliases without a bound (a few lines can stand
for billions of values), recurses for each level, and lets errors of its constructors through (``!!int x``).
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from boltzgen.errors import InputError
from boltzgen.files import DEEPEST, LONGEST_SHOWN

#: Bytes of a YAML file; PyYAML reads some hundred thousand in a second. A data set of ten thousand molecules
#: is configured in less.
LARGEST_YAML = 2**20

#: Keys and values of a file, those of an alias counted each time that it is used.
MOST_NODES = 200_000

#: Digits of a whole number, with sign; seeds have 19.
_MOST_DIGITS = 21

_CORE = "tag:yaml.org,2002:"
_TAGS = {_CORE + name for name in ("null", "bool", "int", "float", "str", "seq", "map")}

#: What PyYAML and its constructors raise for text that is no YAML, or whose values are not of their tags.
_FAULTS = (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


def parse_yaml(text: str, *, source: str) -> Any:
    """The content of the YAML `text`, which stands in `source`; ``1e-3`` is a number, a date is text.

    InputError, with the line, for what is no YAML, keys given twice or not plain, tags, and for nesting or
    aliases beyond any use.
    """
    shown = source if len(source) < LONGEST_SHOWN else f"{source[:LONGEST_SHOWN]}..."
    remedy = "write 'key: value' lines, text with special characters in quotes."
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        _check_size(node)
        return None if node is None else loader.construct_document(node)
    except RecursionError as error:
        raise InputError(f"{shown}: not valid YAML (nested too deeply); {remedy}") from error
    except _FAULTS as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if not isinstance(error, yaml.YAMLError):
            problem = f"a value is not what its tag says ({problem})"
        raise InputError(f"{shown}: not valid YAML{where}: {problem[:LONGEST_SHOWN]}; {remedy}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _refused(problem: str, node: Any) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader for plain values; duplicate keys are refused, and ``1e-3`` is a float."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.peek_event().start_mark)
        self.depth += 1
        try:
            node = super().compose_node(parent, index)
        finally:
            self.depth -= 1
        if node.tag not in _TAGS:
            raise _refused(f"the tag {node.tag.removeprefix(_CORE)!r} is not used; write a plain value", node)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        word = self.construct_scalar(node)
        if len(word.replace("_", "")) > _MOST_DIGITS:
            raise _refused(f"{word[:_MOST_DIGITS]}... is too large for a whole number", node)
        try:
            return int(super().construct_yaml_int(node))
        except (ValueError, IndexError) as error:
            raise _refused(f"{word!r} is no whole number", node) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _refused("expected keys with values", node)
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise _refused("a key is not a plain word", key_node)
            if key in seen:
                raise _refused(f"the key {key!r} is given twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _set_up() -> None:
    """YAML 1.1 takes 1e-3 for text, people mean a number, and 2024-01-01 for a date, people mean a name."""
    _Loader.add_constructor(_CORE + "int", _Loader.construct_yaml_int)
    _Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag in _TAGS]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _Loader.add_implicit_resolver(
        _CORE + "float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+0123456789.")
    )


_set_up()


def _check_size(root: Any) -> None:
    """ConstructorError where the nodes below `root`, aliases followed, are too many or contain themselves."""
    sizes: dict[int, int] = {}

    def size(node: Any, above: tuple[int, ...]) -> int:
        if id(node) in above:
            raise _refused("an alias stands for what it is in", node)
        if id(node) not in sizes:
            trail = (*above, id(node))
            if isinstance(node, yaml.MappingNode):
                total = 1 + sum(size(part, trail) for pair in node.value for part in pair)
            elif isinstance(node, yaml.SequenceNode):
                total = 1 + sum(size(part, trail) for part in node.value)
            else:
                total = 1
            if total > MOST_NODES:
                raise _refused(f"more than {MOST_NODES} values, aliases followed", node)
            sizes[id(node)] = total
        return sizes[id(node)]

    if root is not None:
        size(root, ())
