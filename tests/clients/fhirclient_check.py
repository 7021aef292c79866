"""fhirclient (SMART) as a backend uses it: it reads the CapabilityStatement, signs in by itself with the assertion
it is given, and works with strict R4 models; any surprise ends the process with a message.

Standard input is the task: base, scope, assertion, and a consent and a reading to fill in.
"""

import json
import sys

import requests
from fhirclient.client import FHIRClient
from fhirclient.models.bundle import Bundle
from fhirclient.models.consent import Consent
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRPermissionDeniedException, FHIRUnauthorizedException

TASK = json.load(sys.stdin)
PATIENT = "PATIENT"


def check(holds, what):
    if not holds:
        sys.exit(f"fhirclient: {what}")


def equal(found, expected, what):
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def refused(kind, what, call):
    try:
        call()
    except kind as error:
        return error
    sys.exit(f"fhirclient: {what} was not refused as {kind.__name__}")


def filled(template, patient):
    return json.loads(json.dumps(template).replace(f"Patient/{PATIENT}", f"Patient/{patient}"))


def reading(patient, number):
    """Readings are a day apart, so that their order by date is the order of their numbers."""
    body = filled(TASK["reading"], patient)
    body["identifier"][0]["value"] = f"fhirclient-{patient}-{number}"
    body["effectiveDateTime"] = f"2026-03-{number:02}T08:00:00Z"
    body["valueQuantity"]["value"] = 70 + number
    return body


def signed_in():
    client = FHIRClient(
        settings={
            "app_id": "app",
            "api_base": TASK["base"],
            "scope": TASK["scope"],
            # With a patient in the settings no launch scope is asked for, which a backend has no use for.
            "patient_id": "none",
            "jwt_token": TASK["assertion"],
        }
    )
    check(not client.prepare(), "ready before it signed in: the CapabilityStatement names no token endpoint")
    stranger = client.server
    refused(FHIRUnauthorizedException, "a read without a token", lambda: Patient.read("nobody", stranger))
    client.authorize()
    check(client.ready, "not ready after it signed in")
    return client.server


def main():
    server = signed_in()
    equal(server.capabilityStatement.fhirVersion, "4.0.1", "version of FHIR")

    created = Patient({"active": True}).create(server)
    patient = Patient.read(created["id"], server)
    patient.gender = "male"
    equal(patient.update()["meta"]["versionId"], "2", "version after an update")
    refused(
        FHIRPermissionDeniedException,
        "a reading without consent",
        lambda: Observation(reading(patient.id, 1)).create(server),
    )
    Consent(filled(TASK["consent"], patient.id)).create(server)
    first = Observation(Observation(reading(patient.id, 1)).create(server))
    check(first.id, "the reading got no id")

    for kind, numbers in (("batch", (2, 3)), ("transaction", (4, 5))):
        entries = [
            {"resource": reading(patient.id, number), "request": {"method": "POST", "url": "Observation"}}
            for number in numbers
        ]
        answer = Bundle(Bundle({"type": kind, "entry": entries}).create(server))
        equal(answer.type, f"{kind}-response", "type of the answer to a Bundle")
        equal([entry.response.status[:3] for entry in answer.entry], ["201", "201"], "entries of a Bundle")

    def values(**parameters):
        struct = {"patient": patient.id, **parameters}
        return [one.valueQuantity.value for one in Observation.where(struct).perform_resources_iter(server)]

    equal(values(_sort="date", _count="2"), [71, 72, 73, 74, 75], "all pages, oldest first")
    equal(values(_sort="-date", _count="3"), [75, 74, 73, 72, 71], "all pages, newest first")
    equal(sorted(values(code="http://loinc.org|8867-4")), [71, 72, 73, 74, 75], "by code with system")
    equal(values(code="85354-9"), [], "by another code")
    equal(sorted(values(category="vital-signs")), [71, 72, 73, 74, 75], "by category")
    equal(sorted(values(date={"$and": ["ge2026-03-02", "lt2026-03-04"]})), [72, 73], "by a period")
    equal(values(_id=first.id), [71], "by _id")

    refused(FHIRNotFoundException, "a read of nothing", lambda: Observation.read("nothing", server))
    wrong = Observation(reading(patient.id, 7))
    wrong.status = "nearly"
    error = refused(requests.HTTPError, "an invalid status", lambda: wrong.create(server))
    equal(error.response.status_code, 422, "status of the refusal")
    equal(error.response.json()["issue"][0]["expression"], ["Observation.status"], "where the fault is")


main()
