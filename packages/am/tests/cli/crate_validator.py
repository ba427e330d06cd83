"""Validate an RO-Crate against the profile of Workflow Run Crates, in an environment of the versions beside this.

Called as a script with the crate; prints what was found as JSON. The validator looks up the format's vocabulary on the
web; here it gets the copy that came with the release 0.13 of `rocrate`, and nothing else answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import requests
import rocrate
from requests.adapters import HTTPAdapter
from rocrate_validator import models, services

PROFILE = "workflow-run-crate-0.5"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def answer(_: HTTPAdapter, request: requests.PreparedRequest, **__: Any) -> requests.Response:
    if request.url != CONTEXT:
        raise requests.ConnectionError(f"{request.url}: offline, by a test")
    response = requests.Response()
    response.status_code, response.url, response.request = 200, CONTEXT, request
    response.headers["Content-Type"] = "application/ld+json"
    response._content = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
    return response


def main(crate: str) -> None:
    HTTPAdapter.send = answer  # type: ignore[method-assign]
    settings = services.ValidationSettings(rocrate_uri=crate, profile_identifier=PROFILE, no_cache=True)
    result = services.validate(settings)
    faults = [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues(models.Severity.REQUIRED)]
    print(json.dumps({"profile": PROFILE, "checks": len(result.executed_checks), "faults": faults}))


if __name__ == "__main__":
    main(sys.argv[1])
