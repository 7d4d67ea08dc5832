"""Promises of launch/kubernetes: valid by schemas, restarted rightly, writable where it must be.

Those that need a schema's reader run where the dependency group `launch` is installed.
"""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

LAUNCH = Path(__file__).parents[2] / "launch"
FILES = sorted((LAUNCH / "kubernetes").glob("*.yaml"))


def parsed(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def closed(optional: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A JSON schema of an object with these fields and no others."""
    required = [name for name in fields if name not in optional]
    shape = {"type": "object", "properties": fields, "required": required}
    return {**shape, "additionalProperties": False}


def listed(one: Any) -> dict[str, Any]:
    return {"type": "array", "items": one, "minItems": 1}


LABEL = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
COUNT = {"type": "integer", "minimum": 1}
# The fields that the files use, by https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2/.
# Another one that they begin to use is looked up there and added here.
RULE = closed(
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:-]*[A-Za-z0-9_])?$"},
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    onJobFailureReasons=listed({"enum": ["BackoffLimitExceeded", "PodFailurePolicy"]}),
)
JOB_SET = closed(
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=closed(
        ("annotations",),
        name=LABEL,
        annotations=closed(
            (), **{"alpha.jobset.sigs.k8s.io/exclusive-topology": {"type": "string"}}
        ),
    ),
    spec=closed(
        failurePolicy=closed(maxRestarts=COUNT, rules=listed(RULE)),
        replicatedJobs=listed(
            closed(name=LABEL, replicas=COUNT, template=closed(spec={"type": "object"}))
        ),
    ),
)


def objects_of(tree: Any) -> list[dict[str, Any]]:
    """Returns the objects of a JobSet, but for those inside its jobs."""
    if isinstance(tree, list):
        return [found for one in tree for found in objects_of(one)]
    if not isinstance(tree, dict):
        return []
    inside = [found for key, one in tree.items() if key != "template" for found in objects_of(one)]
    return [tree, *inside]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_job_set_has_the_fields_of_its_reference_and_no_others(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(parsed(path), JOB_SET)
    for number in range(len(objects_of(parsed(path)))):
        wrong = copy.deepcopy(parsed(path))
        found = objects_of(wrong)[number]
        found["ttlSecond"] = 1  # A slip of the pen is found.
        with pytest.raises(jsonschema.ValidationError, match="ttlSecond"):
            jsonschema.validate(wrong, JOB_SET)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_job_of_a_job_set_is_valid_by_the_published_schema(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    for replicated in parsed(path)["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}
        job["spec"] = replicated["template"]["spec"]
        validate(job, "1.31", strict=True)
        job["spec"]["completionsMode"] = "Indexed"  # A slip of the pen is found.
        with pytest.raises(Exception, match="completionsMode"):
            validate(job, "1.31", strict=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_fails_a_job_set_and_anything_else_restarts_it(path: Path) -> None:
    spec = parsed(path)["spec"]
    assert spec["failurePolicy"]["maxRestarts"] > 0
    (rule,) = spec["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet"
    job = spec["replicatedJobs"][0]["template"]["spec"]
    (exit_rule,) = job["podFailurePolicy"]["rules"]
    assert exit_rule["onExitCodes"]["values"] == [2]
    container = job["template"]["spec"]["containers"][0]
    assert container["name"] == exit_rule["onExitCodes"]["containerName"]
    variables = {v["name"]: v.get("value") for v in container.get("env", ())}
    assert variables.get("CATSDOGS_PROCESSES", str(job["completions"])) == str(job["completions"])
    assert job["parallelism"] == job["completions"]


def test_the_processes_look_for_the_first_one_by_the_name_that_its_pod_gets() -> None:
    whole = parsed(LAUNCH / "kubernetes" / "gpu.yaml")
    (replicated,) = whole["spec"]["replicatedJobs"]
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    variables = {v["name"]: v.get("value") for v in container["env"]}
    (port,) = (one["containerPort"] for one in container["ports"])
    name = whole["metadata"]["name"]  # JobSet's service has the name of the set.
    assert variables["CATSDOGS_COORDINATOR"] == f"{name}-{replicated['name']}-0-0.{name}:{port}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_user_of_the_image_may_write_to_the_volumes_that_are_written_to(path: Path) -> None:
    (user,) = re.findall(r"^USER (\d+)$", (LAUNCH / "Dockerfile").read_text(), re.MULTILINE)
    for replicated in parsed(path)["spec"]["replicatedJobs"]:
        pod = replicated["template"]["spec"]["template"]["spec"]
        mounts = [mount for one in pod["containers"] for mount in one["volumeMounts"]]
        assert [m["name"] for m in mounts if m.get("readOnly")] == ["pictures"]
        assert pod["securityContext"]["fsGroup"] == int(user)
