"""The JSON Schema of a scenario file, for editors: completion, hover texts, early errors.

It is a little more generous than the loader: what the matrix or a profile may supply is not
required of the base, and rules that join several keys are left to the loader.
"""

from __future__ import annotations

from bench.scenario import form

SCHEMA_URI = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, object]
_IN_A_PROFILE = ("description", "tags", "compare", "gate", "matrix", "thresholds")
_LOAD_FORMS = {model: kind.__name__ for model, kind in form.LOADS.items()}


def file_schema() -> Schema:
    """The schema of version 1 (draft 2020-12)."""
    schema = _cleaned(form.CaseForm.model_json_schema(by_alias=True))
    assert isinstance(schema, dict)
    definitions, properties = _part(schema, "$defs"), _part(schema, "properties")
    _loosen(definitions)
    definitions["AnyLoad"] = _any_load(definitions)
    varying = {key: value for key, value in properties.items() if key not in form.SCENARIO_ONLY}
    definitions["Matrix"] = _matrix(definitions, properties)
    definitions["Thresholds"] = _thresholds()
    properties["matrix"] = {"$ref": "#/$defs/Matrix"}
    properties["thresholds"] = {"$ref": "#/$defs/Thresholds"}
    definitions["Profile"] = {
        "type": "object",
        "description": "Laid over the scenario by --profile, key by key.",
        "additionalProperties": False,
        "properties": {
            **{
                key: properties[key]
                for key in ("description", "tags", "compare", "gate", "matrix", "thresholds")
            },
            **varying,
            "load": {"$ref": "#/$defs/AnyLoad"},
        },
    }
    properties["profiles"] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Profile"}}
    return {
        "$schema": SCHEMA_URI,
        "title": "sendbench scenario, version 1",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "name"],
        "properties": properties,
        "$defs": dict(sorted(definitions.items())),
    }


def _part(schema: Schema, key: str) -> Schema:
    part = schema[key]
    assert isinstance(part, dict)
    return part


def _cleaned(value: object, *, names: bool = False) -> object:
    """Without generated titles, inner defaults and the class documentation of inner types."""
    if isinstance(value, list):
        return [_cleaned(item) for item in value if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {
        key: _cleaned(item, names=key in ("properties", "$defs"))
        for key, item in value.items()
        if names or not (key in ("title", "discriminator") or (key == "default" and _internal(item)))
    }
    alternatives = kept.get("anyOf")
    if not names and isinstance(alternatives, list) and len(alternatives) == 1:
        only = alternatives[0]
        assert isinstance(only, dict)
        del kept["anyOf"]
        return {**only, **kept}
    return kept


def _internal(default: object) -> bool:
    """True for defaults that a file would not write so: none, and times in ns."""
    return default is None or (isinstance(default, int) and default > 10**6)


def _loosen(definitions: Schema) -> None:
    """Require nothing but a load's model: the matrix may supply the rest."""
    for name in definitions:
        definition = _part(definitions, name)
        if definition.pop("required", None) and name in _LOAD_FORMS.values():
            definition["required"] = ["model"]


def _any_load(definitions: Schema) -> Schema:
    """A load as a profile gives it: any keys of any model."""
    merged: Schema = {"model": {"enum": list(_LOAD_FORMS)}}
    for name in _LOAD_FORMS.values():
        for key, value in _part(_part(definitions, name), "properties").items():
            merged.setdefault(key, value)
    return {"type": "object", "additionalProperties": False, "properties": merged}


def _matrix(definitions: Schema, properties: Schema) -> Schema:
    axes: Schema = {}
    for dotted in form.dotted_keys():
        section, _, key = dotted.rpartition(".")
        if not section:
            item = properties[key]
        elif section == "load":
            item = _part(_part(definitions, "AnyLoad"), "properties")[key]
        else:
            item = _part(_part(definitions, form.SECTIONS[section].__name__), "properties")[key]
        axes[dotted] = {"type": "array", "minItems": 1, "items": item}
        if dotted in form.NAMED_AXES:
            named = {"type": "object", "minProperties": 1, "additionalProperties": item}
            axes[dotted] = {"anyOf": [axes[dotted], named]}
    rule = {"type": "object", "minProperties": 1, "propertyNames": {"enum": list(axes)}}
    axes["exclude"] = {"type": "array", "items": rule, "description": "Combinations to leave out."}
    return {
        "type": "object",
        "description": "Every combination of these keys' values is a case.",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": axes,
    }


def _thresholds() -> Schema:
    line = {
        "type": "string",
        "pattern": r"^\s*[a-z0-9.]+\s*\(.*\)\s*[<>]=?\s*\S+",
        "examples": ["p95(service) < 800ms"],
    }
    long = {
        "type": "object",
        "additionalProperties": False,
        "required": ["check"],
        "properties": {
            "check": line,
            "abort": {"type": "boolean", "description": "End the run once the threshold can no longer pass."},
        },
    }
    return {
        "type": "array",
        "items": {"anyOf": [line, long]},
        "description": "FUNC(WHAT) OP VALUE [where key=value,...]; a run whose cases break one exits 1.",
    }
