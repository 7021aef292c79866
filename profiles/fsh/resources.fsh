// What stands beside the measurements: who, with what, by which way, with whose consent.

RuleSet: Own
* ^status = #draft

RuleSet: PatientGenerated
* meta.tag ^slicing.discriminator.type = #pattern
* meta.tag ^slicing.discriminator.path = "$this"
* meta.tag ^slicing.rules = #open
* meta.tag contains origin 1..1
* meta.tag[origin] = DataOrigin#patient-generated

Profile: Person
Parent: Patient
Id: mh-patient
Title: "Person"
Description: "The person whose measurements they are, by a pseudonym. What identifies a person further stays with the platform that needs it."
* insert Own
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* name 0..0
* telecom 0..0
* address 0..0
* photo 0..0
* contact 0..0

Profile: Wearable
Parent: Device
Id: mh-device
Title: "Device that measures"
Description: "A wearable or a meter at home. Its serial number is sent only where a platform demands it."
* insert Own
* type 1..1
* type from DeviceKindMeasuring (extensible)
* manufacturer 1..1
* deviceName 1..*
* version 1..*
* version ^short = "Firmware, and what else has a version"

Profile: Phone
Parent: Device
Id: mh-phone
Title: "Phone"
Description: "The phone or tablet that gathers measurements."
* insert Own
* type 1..1
* type = DeviceKind#phone
* deviceName 1..*
* version 1..*
* version ^short = "Operating system"

Profile: App
Parent: Device
Id: mh-app
Title: "App"
Description: "The program that sends, by its registration and version."
* insert Own
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* type 1..1
* type = DeviceKind#app
* deviceName 1..*
* version 1..*
* owner only Reference(Organization)

Profile: Metric
Parent: DeviceMetric
Id: mh-device-metric
Title: "Sensor"
Description: "One sensor of a device, with the state of its calibration."
* insert Own
* type from MetricTypes (extensible)
* source 1..1
* source only Reference(Device)
* calibration 1..*
* calibration.state 1..1
* calibration.time 1..1

Profile: MedicationTaken
Parent: MedicationAdministration
Id: mh-medication-taken
Title: "Medicine taken"
Description: "A dose that a person took or left out."
* insert PatientGenerated
* insert Own
* extension contains RecordingMethodExtension named recordingMethod 1..1
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* subject only Reference(Patient)
* medication[x] only CodeableConcept
* obeys mh-dose-when-taken
* dosage.dose.system 1..1
* dosage.dose.system = $ucum
* dosage.dose.code 1..1

Invariant: mh-dose-when-taken
Description: "What was not done has a reason; what was taken has none."
Severity: #error
Expression: "(status = 'not-done') = statusReason.exists()"

Profile: Answers
Parent: QuestionnaireResponse
Id: mh-questionnaire-response
Title: "Answers"
Description: "The answers to a questionnaire, beside the score that follows from them."
* insert PatientGenerated
* insert Own
* extension contains RecordingMethodExtension named recordingMethod 1..1
* identifier 1..1
* questionnaire 1..1
* subject 1..1
* subject only Reference(Patient)
* authored 1..1

Profile: Origin
Parent: Provenance
Id: mh-provenance
Title: "Provenance"
Description: "Which app sent what, by which mapping, and what it was made of."
* insert Own
* extension contains
    MappingVersion named mappingVersion 0..1 and
    RecordingMethodExtension named recordingMethod 1..1
* agent ^slicing.discriminator.type = #pattern
* agent ^slicing.discriminator.path = "type"
* agent ^slicing.rules = #open
* agent contains app 1..1
* agent[app].type 1..1
* agent[app].type = $participant#assembler
* agent[app].who only Reference(Device or Organization)

Profile: Permission
Parent: Consent
Id: mh-consent
Title: "Consent"
Description: "What a person permits: which app or platform may do what with which categories, for what purpose. Nothing is permitted that it does not name."
* insert Own
* scope = $consentscope#patient-privacy
* patient 1..1
* dateTime 1..1
* policyRule 1..1
* policyRule = $act#OPTIN
* provision 1..1
* provision.type 1..1
* provision.type = #deny
* provision.provision.type 1..1
* provision.provision.actor 1..*
* provision.provision.action 1..*
* provision.provision.purpose 1..*

Invariant: mh-source-named
Description: "A source is named by an identifier or in words."
Severity: #error
Expression: "identifier.value.exists() or display.exists()"

Profile: SourceOrder
Parent: List
Id: mh-source-order
Title: "Order of sources"
Description: "Which source counts where several have readings of one measure and time: the first that is listed. Without a code it holds for every measure that has no list of its own."
* insert Own
* mode = #working
* code ^short = "A measure, or a category of measures"
* subject 1..1
* subject only Reference(Patient)
* orderedBy 1..1
* orderedBy = $listorder#priority
* entry 1..*
* entry.deleted 0..0
* entry.item obeys mh-source-named
* entry.item.reference 0..0
* entry.item.display ^short = "Device or app, as readings name it"

Profile: Trace
Parent: AuditEvent
Id: mh-audit
Title: "Audit event"
Description: "Who did what with whose data, when, for what purpose and of which category: what a person may ask to see."
* insert Own
* agent 1..*
* agent.type 1..1
* source.observer.display 1..1
* entity.extension contains MeasureCategoryExtension named category 0..*

Profile: TransactionBundle
Parent: Bundle
Id: mh-transaction
Title: "Transaction"
Description: "What an app sends at once: all of it is taken, or nothing."
* insert Own
* type = #transaction
* entry 1..*
* entry.fullUrl 1..1
* entry.resource 1..1
* entry.request 1..1

Profile: CollectionBundle
Parent: Bundle
Id: mh-collection
Title: "Collection"
Description: "Measurements that are handed over together, such as a person's own export."
* insert Own
* type = #collection
* timestamp 1..1
* entry 1..*
* entry.fullUrl 1..1
* entry.resource 1..1

Profile: AppListing
Parent: DeviceDefinition
Id: mh-app-listing
Title: "Listing of an app"
Description: "An app with the schemes that have assessed it and the categories of data for which it may send, as a register publishes it."
* insert Own
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* deviceName 1..*
* manufacturer[x] 1..1
* version 1..*
* extension contains
    Assessment named assessment 1..* and
    MeasureCategoryExtension named category 1..*
