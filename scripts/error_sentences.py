"""What docs/errors.md says of codes whose own sentences are put together while the program runs."""

from __future__ import annotations

SAID = {
    "name.invalid": (
        "“…” is not a valid name.",
        "Letters, digits, dots, dashes and underscores; a name does not end in .onnx.",
    ),
    "category.invalid": ("“…” is not a valid category.", "Write a category like vision/ocr."),
    "alias.invalid": (
        "“…” is not a valid alias.",
        "An alias must not look like a version number or label, nor be 'latest'.",
    ),
    "label.invalid": ("“…” is not a valid label.", "Write a label like 1.2.0 or 1.2.0-rc1."),
    "version.invalid": ("“…” is not a valid version.", "A version is a whole number from 1 on, without leading zeros."),
    "reference.invalid": ("“…” is not a valid reference.", "Write a path, or name[@version|@label|@alias]."),
    "model.not_onnx": (
        "“…” is not an ONNX model, with what it looks like.",
        "Name an .onnx file; export or convert the model first.",
    ),
    "model.lfs_pointer": (
        "“…” is a git-LFS pointer that stands for the model.",
        "Run `git lfs pull` in its repository.",
    ),
    "model.bad_tensor": (
        "A stored tensor of the model is not valid: its data, shape and type do not go together.",
        "The file is damaged or was written wrongly; export or download it again.",
    ),
    "model.shapes": (
        "The shapes at … do not fit: ….",
        "Export the model again, or without fixed shapes.",
    ),
    "model.types": (
        "The types at a node do not fit: … does not take the type … that its input “…” has.",
        "Export the model with the types that the operator takes in its opset, such as float32.",
    ),
    "data.invalid": (
        "The values of input “…” are not what the model takes: ….",
        "Compare them with what `quickserveml schema` shows.",
    ),
    "data.range": (
        "Input “…” has values beyond the range of ….",
        "Give values that fit its type.",
    ),
    "data.unsupported": (
        "Input “…” refers to shared memory, which this server does not offer.",
        "Send the values with the request.",
    ),
    "data.unknown_input": (
        "The model has no input “…”.",
        "Give the inputs that `quickserveml schema` shows, and no others.",
    ),
    "bundle.compressed": (
        "The bundle cannot be read: its files are compressed, so another program packed it.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.duplicate": (
        "The bundle cannot be read: a file is in it twice.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.encrypted": (
        "The bundle cannot be read: its files are encrypted.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.link": (
        "The bundle cannot be read: it holds a link, a folder or a device.",
        "Export it again with `quickserveml export`.",
    ),
    "bundle.too_large": (
        "The bundle cannot be read: it lists too many files.",
        "Export fewer models at once.",
    ),
    "bundle.truncated": (
        "The bundle cannot be read: its end is missing.",
        "Copy the whole file again.",
    ),
    "bundle.damaged": (
        "The bundle cannot be read: what it holds is not what it says.",
        "Copy the whole file again.",
    ),
    "bundle.not_a_bundle": (
        "The bundle cannot be read: it is no zip archive.",
        "Bundles are files that `quickserveml export` wrote.",
    ),
    "bundle.unsafe_path": (
        "The bundle cannot be read: a file in it has a path that leads elsewhere.",
        "Do not use it; export it again where it came from.",
    ),
    "config.unknown_key": (
        "There is no setting “…”.",
        "`quickserveml config show` lists the settings.",
    ),
    "golden.differs": (
        "The given outputs are not what the model answers: ….",
        "Record without them, or look at the difference.",
    ),
    "golden.unverified": (
        "… has golden outputs that it does not give.",
        "`quickserveml verify …` shows the differences; --no-verify goes on.",
    ),
    "output.not_finite": (
        "An output holds NaN or infinities, which JSON cannot carry.",
        "Ask for binary outputs.",
    ),
    "registry.bad_name": (
        "A model has a name that names may not have.",
        "`quickserveml fsck --repair` gives it another.",
    ),
    "registry.dangling_alias": (
        "An alias points at a version that is not there.",
        "`quickserveml fsck --repair` takes it away.",
    ),
    "registry.duplicate_name": (
        "Two models have the same name.",
        "`quickserveml fsck --repair` renames one.",
    ),
    "registry.not_mended": (
        "A damage of the registry cannot be mended by itself.",
        "Restore a backup.",
    ),
    "registry.unrunnable_alias": (
        "A protected alias points at a version that does not run.",
        "Move the alias.",
    ),
    "registry.version_order": (
        "The versions of a model are not in order.",
        "`quickserveml fsck --repair` sorts them.",
    ),
    "request.invalid": (
        "The request is not what this path takes.",
        "The API's description is at /docs.",
    ),
    "request.length": (
        "The length of the request is not what it says.",
        "Check the client.",
    ),
    "usage.compare": (
        "A setting of the comparison is out of range, or sides are missing.",
        "`quickserveml compare --help` lists the options.",
    ),
    "usage.benchmark": (
        "An option of the benchmark is out of range.",
        "`quickserveml benchmark --help` lists the options.",
    ),
    "usage.jobs": (
        "An option of the jobs is out of range.",
        "`quickserveml job --help` lists the options.",
    ),
    "usage.serve": (
        "An option of the server is out of range.",
        "`quickserveml serve --help` lists the options.",
    ),
    "model.unrunnable": (
        "The model is readable, but its trial failed.",
        "Inspect it; add a corrected file as the next version.",
    ),
    "model.load_failed": (
        "The runtime's own words, where no other code fits.",
        "--verbose prints them in full; check the model where it was exported.",
    ),
    "model.unknown_operator": (
        "The operator … is unknown to onnxruntime … in opset ….",
        "Export the model with standard operators, or with an opset that has this one.",
    ),
    "model.invalid_node": (
        "… is not valid: …, or: onnxruntime … cannot prepare the model: ….",
        "Export the model again, and check it where it was exported.",
    ),
    "model.not_found": (
        "There is no model “…”.",
        "`quickserveml list` shows the models there are.",
    ),
    "serve.profile": (
        "The serving profile … is not valid: ….",
        "docs/contract/serving-profile.schema.json describes it; see docs/serving-models.md.",
    ),
    "version.not_found": (
        "… has no version “…”.",
        "`quickserveml show NAME` lists its versions, labels and aliases.",
    ),
    "data.run_failed": (
        "The model failed on these inputs: ….",
        "Check the shapes and values of the inputs.",
    ),
    "data.encoding": (
        "Input “…” has text that is not UTF-8.",
        "Compare the request with the model's metadata.",
    ),
    "data.duplicate_input": (
        "Input “…” is there twice.",
        "Compare the request with the model's metadata.",
    ),
    "runtime.crashed": (
        "The runtime crashed on this model (…).",
        "Only the process that ran the model was lost; nothing else is affected.",
    ),
    "runtime.timeout": (
        "The model did not finish within … s.",
        "It may loop without end, or need smaller inputs or more time.",
    ),
    "runtime.failed": (
        "The runtime failed on the model in a way that is not the data's fault.",
        "--verbose prints all that is known.",
    ),
    "runtime.protocol": (
        "A runner and the program do not understand each other.",
        "Install the program again.",
    ),
    "conflict": (
        "The write lost against another one, or the name is taken.",
        "Look at what is there now, and try again.",
    ),
    "gate.failed": (
        "A check that was to be passed was not.",
        "Look at the report of the check.",
    ),
    "internal": (
        "Something went wrong that should not have.",
        "A report was written; please pass it on.",
    ),
    "not_permitted": (
        "The caller may not do this.",
        "Ask whoever runs the server.",
    ),
    "reference.not_found": (
        "What the reference names does not exist.",
        "`quickserveml list` shows the models there are.",
    ),
    "store.unavailable": (
        "A store is locked, full or damaged.",
        "`quickserveml fsck` checks the stores.",
    ),
    "store.read_only": (
        "Nothing may be written: the program or the home is read-only.",
        "Open it without --read-only, QSML_READ_ONLY or the setting read_only.",
    ),
    "unavailable": (
        "A server, port or optional part that is needed is not there.",
        "`quickserveml doctor` says what is.",
    ),
    "usage": (
        "The command line is malformed.",
        "`quickserveml COMMAND --help` lists the options.",
    ),
    "usage.filter": (
        "A filter cannot be read.",
        "docs/filters.md describes filters.",
    ),
    "cancelled": (
        "Cancelled.",
        "What was finished before is kept.",
    ),
    "deadline": (
        "The inference took longer than its deadline.",
        "Send less at once, or raise the deadline.",
    ),
    "comparison.unsaved": (
        "The comparison was measured, but its result could not be kept.",
        "See why the store takes nothing: `quickserveml doctor`.",
    ),
    "scenario.unsaved": (
        "The scenario ran, but its result could not be kept.",
        "See why the store takes nothing: `quickserveml doctor`.",
    ),
    "usage.scenario": (
        "The settings of the scenario are out of range.",
        "The message names the setting and what it may be.",
    ),
    "benchmark.unsaved": (
        "The benchmark ran, but its result could not be kept.",
        "See why the store takes nothing: `quickserveml doctor`.",
    ),
    "lineage.invalid": (
        "What a version was derived from is not written as that.",
        "Name a version, or the sha256 of an artifact.",
    ),
    "http.error": (
        "The request cannot be answered.",
        "The API's description is at /docs.",
    ),
    "http.not_found": (
        "There is nothing at this path.",
        "The API's description is at /docs.",
    ),
    "http.method": (
        "This path does not take this method.",
        "The API's description is at /docs.",
    ),
    "http.malformed": (
        "The request is not HTTP as it should be.",
        "Check the client.",
    ),
    "http.timeout": (
        "The request did not arrive in time.",
        "Send it again, faster or in parts.",
    ),
    "http.head_too_large": (
        "The head of the request is too large.",
        "Send fewer or shorter headers.",
    ),
    "http.too_large": (
        "The body of the request is too large.",
        "Send less at once.",
    ),
    "auth.malformed": (
        "The key is mistyped or cut off, or the request carries none as a server takes it.",
        "Send it whole as “Authorization: Bearer KEY” or “X-API-Key: KEY”.",
    ),
    "auth.too_many": (
        "There were too many attempts with keys that do not hold.",
        "Check the key; try again in a second.",
    ),
    "idempotency.mismatch": (
        "This idempotency key was used for another request.",
        "Use a new key for each request.",
    ),
    "precondition.required": (
        "The request must name the revision that it replaces.",
        "Send the ETag of what you read in If-Match.",
    ),
    "precondition.failed": (
        "What is to be changed was changed in the meantime.",
        "Read it again, then repeat the change.",
    ),
    "range.invalid": (
        "The file has no bytes in that range.",
        "Ask for a range within it.",
    ),
    "request.protobuf": (
        "The request is not the message that this method takes.",
        "Build it with the protocol's own definitions, or use one of its clients.",
    ),
    "server.fixed": (
        "This server cannot change what it serves.",
        "Start it with `quickserveml serve`.",
    ),
    "serve.load_crashed": (
        "A version ended the worker that loaded it.",
        "It is not loaded again; `quickserveml trial` tries it in a process of its own.",
    ),
    "upload.type": (
        "An upload must be the plain bytes of a file.",
        "Send it as application/octet-stream.",
    ),
}
"""Sentence and hint of codes whose own are made elsewhere or differ from place to place."""
