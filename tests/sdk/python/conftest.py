"""Clients of the gate, and a way to script the upstream behind it."""

import json
import os
import urllib.request

import openai
import pytest

BASE_URL = os.environ["SALLYPORT_TEST_BASE_URL"]
KEY = os.environ["SALLYPORT_TEST_KEY"]
UPSTREAM = os.environ.get("SALLYPORT_TEST_UPSTREAM", "")


@pytest.fixture
def client():
    """The official client: two settings changed, nothing else."""
    return openai.OpenAI(base_url=BASE_URL, api_key=KEY)


@pytest.fixture
def impatient():
    """The official client without retries."""
    return openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)


def control(method, path, body=None):
    """Speaks to the scriptable upstream."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{UPSTREAM}{path}", data=data, method=method)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


@pytest.fixture
def script():
    """Scripts the upstream's next answers; forgets them afterwards."""
    control("DELETE", "/_record")
    yield lambda **fields: control("POST", "/_script", fields)
    control("DELETE", "/_record")


@pytest.fixture
def record():
    """What the upstream received."""
    return lambda: control("GET", "/_record")
