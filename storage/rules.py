"""What pydantic complains of, in the words of this farm: a rule, not a diagnosis."""

from pydantic_core import ErrorDetails

_RULES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "missing": "missing; it must be given",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text; put it in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "invalid_key": "keys must be text; put it in quotes",
}
_BOUNDS = {
    "greater_than_equal": ("must be at least {}", "ge"),
    "greater_than": ("must be above {}", "gt"),
    "less_than_equal": ("must be at most {}", "le"),
    "less_than": ("must be below {}", "lt"),
    "literal_error": ("must be {}", "expected"),
    "string_pattern_mismatch": ("must match {}", "pattern"),
}


def rule_of(error: ErrorDetails) -> str:
    """The rule that a value broke, lower case and without a full stop."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _BOUNDS:
        rule, name = _BOUNDS[kind]
        bound = context[name]
        return rule.format(f"{bound:g}" if isinstance(bound, float) else bound)
    if kind == "value_error":
        return str(context["error"])
    message = error["msg"]
    return _RULES.get(kind, message[:1].lower() + message[1:])
