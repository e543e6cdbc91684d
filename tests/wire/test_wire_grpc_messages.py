"""The messages of gRPC are those of the clients, field by field, and live beside them in one process."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import quickserveml_tui

COMPARE = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
from quickserveml_tui.wire.grpc_messages import schema
pool = module.DESCRIPTOR.pool

def kind(field):
    if field.message_type is not None:
        return field.message_type.full_name
    return field.enum_type.full_name if field.enum_type is not None else field.type

def rows(descriptor):
    found = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        found[field.name] = [field.number, kind(field), repeated, oneof]
    return found

report = {"missing": [], "different": [], "fields": 0}
for name, made in schema().classes.items():
    try:
        theirs = pool.FindMessageTypeByName(f"inference.{name}")
    except KeyError:
        report["missing"].append(name)
        continue
    ours, known = rows(made.DESCRIPTOR), rows(theirs)
    for field, row in ours.items():
        report["fields"] += 1
        if known.get(field) != row:
            report["different"].append([name, field, row, known.get(field)])
    for field in made.DESCRIPTOR.fields:
        if field.enum_type is not None:
            enum = pool.FindEnumTypeByName(field.enum_type.full_name)
            if {v.name: v.number for v in enum.values} != {v.name: v.number for v in field.enum_type.values}:
                report["different"].append([name, field.name, "enum"])
    if name.startswith(("ModelInfer", "InferTensor", "InferParameter")):
        lacking = set(known) - set(ours)
        if lacking:
            report["different"].append([name, sorted(lacking)])
print(json.dumps(report))
"""


def compared(module):
    environment = os.environ | {"PYTHONPATH": str(Path(quickserveml_tui.__file__).parent.parent)}
    command = [sys.executable, "-c", COMPARE, module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_field_has_the_number_and_type_that_tritons_client_knows():
    report = compared("tritonclient.grpc.service_pb2")
    assert report["missing"] == []
    # KServe's: Triton's answers have no fields, and its clients skip those that they do not know.
    more = {
        (f"RepositoryModel{kind}Response", field)
        for kind in ("Load", "Unload")
        for field in ("model_name", f"is{kind}ed")
    }
    assert {tuple(item[:2]) for item in report["different"]} == more
    assert all(item[3] is None for item in report["different"])
    assert report["fields"] > 100


def test_every_field_that_kserves_client_knows_is_the_same():
    if importlib.util.find_spec("kserve") is None:  # importing it here would forbid tritonclient.grpc to other tests
        pytest.skip("the package kserve is not installed")
    report = compared("kserve.protocol.grpc.grpc_predict_v2_pb2")
    # There the model's name has another number; what a call says in Triton's field 1 stands in where 2 is empty.
    renumbered = {("RepositoryModelLoadRequest", "model_name"), ("RepositoryModelUnloadRequest", "model_name")}
    assert {tuple(item[:2]) for item in report["different"] if item[3:] != [None]} == renumbered
    assert report["fields"] > 60
