// What can be asked of a gateway beyond the interactions of FHIR: one definition for each operation of our own.

RuleSet: Operation(id, name, title, type, code, affects)
* insert Published({id}, {name}, {title}, OperationDefinition)
* kind = #operation
* affectsState = {affects}
* code = #{code}
* resource = #{type}
* system = false

RuleSet: OfType
* type = true
* instance = false

RuleSet: OfInstance
* type = false
* instance = true

RuleSet: Takes(name, min, max, type, text)
* parameter[+].name = #{name}
* parameter[=].use = #in
* parameter[=].min = {min}
* parameter[=].max = "{max}"
* parameter[=].documentation = "{text}"
* parameter[=].type = #{type}

RuleSet: Gives(name, min, max, type, text)
* parameter[+].name = #{name}
* parameter[=].use = #out
* parameter[=].min = {min}
* parameter[=].max = "{max}"
* parameter[=].documentation = "{text}"
* parameter[=].type = #{type}

RuleSet: GivesParts(name, min, max, text)
* parameter[+].name = #{name}
* parameter[=].use = #out
* parameter[=].min = {min}
* parameter[=].max = "{max}"
* parameter[=].documentation = "{text}"

RuleSet: Part(name, min, max, type, text)
* parameter[=].part[+].name = #{name}
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = {min}
* parameter[=].part[=].max = "{max}"
* parameter[=].part[=].documentation = "{text}"
* parameter[=].part[=].type = #{type}

RuleSet: PartOfParts(name, min, max, text)
* parameter[=].part[+].name = #{name}
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = {min}
* parameter[=].part[=].max = "{max}"
* parameter[=].part[=].documentation = "{text}"

RuleSet: Inner(name, min, max, type, text)
* parameter[=].part[=].part[+].name = #{name}
* parameter[=].part[=].part[=].use = #out
* parameter[=].part[=].part[=].min = {min}
* parameter[=].part[=].part[=].max = "{max}"
* parameter[=].part[=].part[=].documentation = "{text}"
* parameter[=].part[=].part[=].type = #{type}

Instance: consent-evaluate
InstanceOf: OperationDefinition
Title: "What would be decided"
Usage: #definition
* insert Operation(consent-evaluate, ConsentEvaluate, What would be decided, Consent, evaluate, false)
* insert OfType
* description = "Decides as the gateway would, for whom, what for, about what and when the question says, and tells why; nothing is changed. The client that registered the person is told everything, any other only what it would learn by trying."
* insert Takes(patient, 0, 1, Reference, [[The person whose consents on file are asked. May be left out where a consent names the person.]])
* parameter[=].targetProfile = "http://hl7.org/fhir/StructureDefinition/Patient"
* insert Takes(consent, 0, *, Consent, [[Taken as given. Those on file are then left aside unless stored is true.]])
* insert Takes(stored, 0, 1, boolean, [[Whether the consents on file count besides those that are given here.]])
* insert Takes(actor, 0, *, Reference, [[Each reference that the one who asks answers to. Who names none asks for itself.]])
* insert Takes(actorIdentifier, 0, *, Identifier, [[The same by identifiers.]])
* insert Takes(role, 0, *, Coding, [[Roles of the one who asks; a code alone is a word that implicit policies know.]])
* insert Takes(purpose, 0, *, code, [[Codes of v3-ActReason, or codings. Each has to be permitted.]])
* insert Takes(action, 0, 1, code, [[collect, disclose or access, which is the default.]])
* insert Takes(code, 0, *, Coding, [[Codes under which it is asked for, besides the resources' own.]])
* insert Takes(policyCode, 0, *, code, [[The same in the system of the German broad consent.]])
* insert Takes(resource, 0, *, Resource, [[What is asked about. Without any it is said on what the decision depends.]])
* insert Takes(restricted, 0, 1, boolean, [[Whether to decide as if the person had restricted the processing. A restriction that stands counts anyway.]])
* insert Takes(now, 0, 1, dateTime, [[The moment of which it is asked. In the past the consents count as they stood then.]])
* insert Gives(decision, 1, 1, code, [[permit, deny or partial.]])
* insert Gives(reason, 1, 1, code, [[Why, in one word.]])
* insert Gives(basis, 0, 1, Reference, [[The version of the Consent that decided.]])
* parameter[=].targetProfile = "http://hl7.org/fhir/StructureDefinition/Consent"
* insert Gives(policy, 0, 1, uri, [[The policy of the deployment that decided where no consent did.]])
* insert Gives(validUntil, 0, 1, instant, [[Until when the decision holds if nothing else changes.]])
* insert Gives(path, 0, 1, string, [[FHIRPath of the rule inside the Consent.]])
* insert Gives(now, 1, 1, instant, [[The moment of which it is told.]])
* insert GivesParts(resource, 0, *, [[What is decided of each resource.]])
* insert Part(reference, 1, 1, Reference, [[The resource.]])
* insert Part(decision, 1, 1, code, [[permit or deny.]])
* insert Part(reason, 1, 1, code, [[Why, in one word.]])
* insert Part(basis, 0, 1, Reference, [[The version of the Consent that decided.]])
* insert Part(path, 0, 1, string, [[FHIRPath of the rule.]])
* insert PartOfParts(consent, 0, *, [[What each consent says of it.]])
* insert Inner(reference, 1, 1, Reference, [[The Consent.]])
* insert Inner(version, 1, 1, positiveInt, [[Its version.]])
* insert Inner(says, 1, 1, code, [[permits, refuses, unclear or nothing.]])
* insert Inner(path, 0, 1, string, [[FHIRPath of the rule.]])
* insert Inner(unmet, 0, *, code, [[Conditions of the permit that comes nearest and that do not hold.]])
* insert GivesParts(residual, 0, *, [[Without resources: the rules by which the decision depends on them.]])
* insert Part(type, 1, 1, code, [[permit or forbid.]])
* insert Part(reference, 1, 1, Reference, [[The Consent.]])
* insert Part(version, 1, 1, positiveInt, [[Its version.]])
* insert Part(path, 1, 1, string, [[FHIRPath of the rule.]])
* insert Part(conditions, 1, 1, string, [[What a resource must be, in words.]])
* insert GivesParts(destination, 0, *, [[What each destination of the gateway would be sent. The same parts as above besides.]])
* insert Part(name, 1, 1, string, [[Its name.]])
* insert Part(identity, 0, 1, code, [[pseudonym, where it may not learn who the person is.]])
* insert Part(decision, 1, 1, code, [[permit, deny or partial.]])
* insert Part(reason, 1, 1, code, [[Why, in one word; not-routed where it is never sent such a resource.]])
* insert PartOfParts(resource, 0, *, [[What is decided of each resource.]])
* insert Inner(reference, 1, 1, Reference, [[The resource.]])
* insert Inner(decision, 1, 1, code, [[permit or deny.]])
* insert Inner(reason, 1, 1, code, [[Why, in one word.]])
* insert Inner(text, 0, 1, string, [[What the destination says of it, where it cannot be told there.]])
* insert Inner(sent, 0, 1, Resource, [[What would leave, where that is not the resource itself.]])
* insert Gives(notYetGiven, 0, *, Reference, [[Consents whose dateTime lies ahead and that are taken as given.]])
* insert Gives(lint, 0, 1, OperationOutcome, [[What is doubtful about the consents.]])

Instance: consent-revoke
InstanceOf: OperationDefinition
Title: "Withdraw a consent"
Usage: #definition
* insert Operation(consent-revoke, ConsentRevoke, Withdraw a consent, Consent, revoke, true)
* insert OfInstance
* description = "The Consent becomes inactive at once: what waits for delivery and is permitted no longer is not sent, and destinations that can be told are told what they may hold no longer. It takes no parameters, so that nothing could narrow it. Asked again, it answers with what stands."
* insert Gives(return, 1, 1, Consent, [[The Consent as it stands now.]])

Instance: consent-receipt
InstanceOf: OperationDefinition
Title: "A receipt for a consent"
Usage: #definition
* insert Operation(consent-receipt, ConsentReceipt, A receipt for a consent, Consent, receipt, false)
* insert OfInstance
* description = "What the person keeps to prove what was agreed to, when, in which words and by which way: a compact JWS of type consent-receipt+jwt over a version of a Consent and its SHA-256. Also asked of one version, below its _history."
* insert Gives(return, 1, 1, Binary, [[The JWS as application/jose.]])

Instance: patient-restrict
InstanceOf: OperationDefinition
Title: "Restrict the processing"
Usage: #definition
* insert Operation(patient-restrict, PatientRestrict, Restrict the processing, Patient, restrict, true)
* insert OfInstance
* description = "From now on what is the person's is stored, and nothing else is done with it (GDPR Art. 18). At the person's own request: the client states the purpose PATRQT."
* insert Gives(restricted, 1, 1, boolean, [[Whether it stands.]])
* insert Gives(since, 0, 1, instant, [[Since when.]])
* insert Gives(receipt, 1, 1, string, [[The same, signed: a JWS of type restriction-receipt+jwt.]])

Instance: patient-unrestrict
InstanceOf: OperationDefinition
Title: "Lift the restriction of the processing"
Usage: #definition
* insert Operation(patient-unrestrict, PatientUnrestrict, Lift the restriction of the processing, Patient, unrestrict, true)
* insert OfInstance
* description = "What waited goes out, if the consents of this moment let it. At the person's own request: the client states the purpose PATRQT."
* insert Gives(restricted, 1, 1, boolean, [[Whether it stands.]])
* insert Gives(receipt, 1, 1, string, [[The same, signed: a JWS of type restriction-receipt+jwt.]])

Instance: patient-export-data
InstanceOf: OperationDefinition
Title: "Take everything along"
Usage: #definition
* insert Operation(patient-export-data, PatientExportData, Take everything along, Patient, export-data, false)
* insert OfInstance
* description = "Everything that is held of a person, whatever apps may see of it: every version of every resource, the consents first, the records of the audit, and as Parameters what senders were told and what devices sent (GDPR Art. 15 and 20). At the person's own request: the client states the purpose PATRQT."
* insert Takes(_format, 0, 1, string, [[application/fhir+ndjson, which is the default, or json for one Bundle.]])
* insert Gives(return, 1, 1, Binary, [[One resource a line, or a Bundle of type collection.]])

Instance: patient-erase
InstanceOf: OperationDefinition
Title: "Forget a person"
Usage: #definition
* insert Operation(patient-erase, PatientErase, Forget a person, Patient, erase, true)
* insert OfInstance
* description = "Everything that is held of a person is erased for good (GDPR Art. 17), and destinations that can be told are told. At the person's own request: the client states the purpose PATRQT. Asked again, it answers with the same receipt, and who has been told since."
* insert Gives(return, 1, 1, Binary, [[The receipt as JSON: what was erased, what stays and why, who has received data and whether they were told, and a proof that the erasure is in the transparency log; signed is the same as a JWS of type erasure-receipt+jwt.]])

Instance: patient-visit
InstanceOf: OperationDefinition
Title: "Open the person's page"
Usage: #definition
* insert Operation(patient-visit, PatientVisit, Open the page of a person, Patient, visit, true)
* insert OfInstance
* description = "A link that opens the person's own page once, within five minutes, for the app to show to the person. Only for clients that the operator trusts to know for sure who their user is."
* insert Gives(return, 1, 1, Binary, [[JSON with url, and expires as an instant.]])

Instance: auditevent-proof
InstanceOf: OperationDefinition
Title: "Prove a record of the audit"
Usage: #definition
* insert Operation(auditevent-proof, AuditEventProof, Prove a record of the audit, AuditEvent, proof, false)
* insert OfInstance
* description = "The record, its salt and the way to a signed head of the transparency log in one file, which is verified offline."
* insert Takes(patient, 1, 1, string, [[The person whom the record is about, as Patient/id or the id.]])
* insert Gives(return, 1, 1, Binary, [[A tlog-proof of C2SP as text.]])
