"""smart-fetch as a hospital uses it: signs in by SMART Backend Services, exports in bulk, and keeps the files.

Standard input is the task: base, token, key_file, and a consent and a reading to fill in. Any surprise ends the process with a
message.
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import requests
from jwcrypto import jwk

TASK = json.load(sys.stdin)
BASE = TASK["base"]


def created(resource):
    answer = requests.post(
        f"{BASE}/{resource['resourceType']}", json=resource, headers={"authorization": f"Bearer {TASK['token']}"}
    )
    if answer.status_code != 201:
        sys.exit(f"smart-fetch: {answer.status_code} {answer.text}")
    return answer.json()["id"]


def filled(template, patient):
    return json.loads(json.dumps(template).replace("Patient/PATIENT", f"Patient/{patient}"))


persons = [created({"resourceType": "Patient", "active": True}) for _ in range(3)]
readings = set()
for person in persons:
    created(filled(TASK["consent"], person))
    for number in range(4):
        reading = filled(TASK["reading"], person)
        reading["identifier"][0]["value"] = f"smart-fetch-{person}-{number}"
        reading["valueQuantity"]["value"] = 60 + number
        readings.add(created(reading))

with tempfile.TemporaryDirectory() as folder:
    key = pathlib.Path(folder) / "key.jwks"
    private = json.loads(jwk.JWK.from_pem(pathlib.Path(TASK["key_file"]).read_bytes()).export_private())
    private |= {"kid": "key-1", "alg": "ES384", "key_ops": ["sign"]}
    key.write_text(json.dumps({"keys": [private]}))
    target = pathlib.Path(folder) / "export"
    ran = subprocess.run(
        [
            pathlib.Path(sys.executable).parent / "smart-fetch", "bulk", str(target), "--fhir-url", BASE,
            "--smart-client-id", "app", "--smart-key", str(key), "--type", "Patient,Observation",
        ],
        capture_output=True,
        text=True,
    )
    if ran.returncode != 0:
        sys.exit(f"smart-fetch: {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
    found = {}
    for file in target.rglob("*.ndjson*"):
        opened = gzip.open(file, "rt") if file.suffix == ".gz" else open(file)
        with opened as lines:
            for line in lines:
                resource = json.loads(line)
                # Beside the resources it writes a log.
                if "resourceType" not in resource:
                    continue
                found.setdefault(resource["resourceType"], []).append(resource.get("id"))

for kind, expected in (("Patient", set(persons)), ("Observation", readings)):
    got = found.get(kind, [])
    if set(got) != expected or len(got) != len(expected):
        sys.exit(f"smart-fetch: {kind}: expected {len(expected)}, found {got}")
