// The three parties of the guide, and what each must be able to do.

Instance: app
InstanceOf: CapabilityStatement
Title: "App"
Usage: #definition
* insert Published(app, ActorApp, App, CapabilityStatement)
* date = "2026-11-21"
* description = "What an app does: it registers the person, records the consent, and sends measurements."
* kind = #requirements
* fhirVersion = #4.0.1
* format[0] = #json
* format[1] = #xml
* rest.mode = #client
* rest.documentation = "An app sends each record under an identifier of its own, so that sending again makes no second one, and reads what the answer objects to."
* rest.security.service = http://terminology.hl7.org/CodeSystem/restful-security-service#SMART-on-FHIR
* rest.security.description = "SMART Backend Services: a signed assertion, and access tokens of at most five minutes."
* rest.resource[+].type = #Observation
* rest.resource[=].supportedProfile[+] = Canonical(mh-heart-rate)
* rest.resource[=].supportedProfile[+] = Canonical(mh-blood-pressure)
* rest.resource[=].supportedProfile[+] = Canonical(mh-body-weight)
* rest.resource[=].supportedProfile[+] = Canonical(mh-measurement)
* rest.resource[=].supportedProfile[+] = Canonical(mh-interval)
* rest.resource[=].supportedProfile[+] = Canonical(mh-daily)
* rest.resource[=].supportedProfile[+] = Canonical(mh-series)
* rest.resource[=].supportedProfile[+] = Canonical(mh-sleep)
* rest.resource[=].supportedProfile[+] = Canonical(mh-session)
* rest.resource[=].supportedProfile[+] = Canonical(mh-glucose)
* rest.resource[=].supportedProfile[+] = Canonical(mh-cgm)
* rest.resource[=].supportedProfile[+] = Canonical(mh-score)
* rest.resource[=].supportedProfile[+] = Canonical(mh-self-report)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #read
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[=].searchParam[+].name = "patient"
* rest.resource[=].searchParam[=].type = #reference
* rest.resource[=].searchParam[+].name = "code"
* rest.resource[=].searchParam[=].type = #token
* rest.resource[=].searchParam[+].name = "date"
* rest.resource[=].searchParam[=].type = #date
* rest.resource[=].searchParam[+].name = "category"
* rest.resource[=].searchParam[=].type = #token
* rest.resource[=].searchParam[+].name = "_lastUpdated"
* rest.resource[=].searchParam[=].type = #date
* rest.resource[+].type = #Patient
* rest.resource[=].supportedProfile[+] = Canonical(mh-patient)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #read
* rest.resource[+].type = #Consent
* rest.resource[=].supportedProfile[+] = Canonical(mh-consent)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #read
* rest.resource[+].type = #Device
* rest.resource[=].supportedProfile[+] = Canonical(mh-device)
* rest.resource[=].supportedProfile[+] = Canonical(mh-phone)
* rest.resource[=].supportedProfile[+] = Canonical(mh-app)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #read
* rest.resource[+].type = #QuestionnaireResponse
* rest.resource[=].supportedProfile[+] = Canonical(mh-questionnaire-response)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #read
* rest.resource[+].type = #AuditEvent
* rest.resource[=].supportedProfile[+] = Canonical(mh-audit)
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[=].searchParam[+].name = "patient"
* rest.resource[=].searchParam[=].type = #reference
* rest.interaction[+].code = #transaction
* rest.interaction[+].code = #batch

Instance: gateway
InstanceOf: CapabilityStatement
Title: "Gateway"
Usage: #definition
* insert Published(gateway, ActorGateway, Gateway, CapabilityStatement)
* date = "2026-11-21"
* description = "What a gateway does: it checks, asks the consent, keeps, and passes on."
* kind = #requirements
* fhirVersion = #4.0.1
* format[0] = #json
* format[1] = #xml
* rest.mode = #server
* rest.documentation = "A gateway refuses what is invalid or not permitted, with the issue, its place and what to do; an answer of success means that the data is kept."
* rest.security.service = http://terminology.hl7.org/CodeSystem/restful-security-service#SMART-on-FHIR
* rest.security.description = "SMART Backend Services: a signed assertion, and access tokens of at most five minutes."
* rest.resource[+].type = #Observation
* rest.resource[=].supportedProfile[+] = Canonical(mh-heart-rate)
* rest.resource[=].supportedProfile[+] = Canonical(mh-blood-pressure)
* rest.resource[=].supportedProfile[+] = Canonical(mh-body-weight)
* rest.resource[=].supportedProfile[+] = Canonical(mh-measurement)
* rest.resource[=].supportedProfile[+] = Canonical(mh-interval)
* rest.resource[=].supportedProfile[+] = Canonical(mh-daily)
* rest.resource[=].supportedProfile[+] = Canonical(mh-series)
* rest.resource[=].supportedProfile[+] = Canonical(mh-sleep)
* rest.resource[=].supportedProfile[+] = Canonical(mh-session)
* rest.resource[=].supportedProfile[+] = Canonical(mh-glucose)
* rest.resource[=].supportedProfile[+] = Canonical(mh-cgm)
* rest.resource[=].supportedProfile[+] = Canonical(mh-score)
* rest.resource[=].supportedProfile[+] = Canonical(mh-self-report)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #patch
* rest.resource[=].interaction[+].code = #read
* rest.resource[=].interaction[+].code = #vread
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[=].searchParam[+].name = "patient"
* rest.resource[=].searchParam[=].type = #reference
* rest.resource[=].searchParam[+].name = "code"
* rest.resource[=].searchParam[=].type = #token
* rest.resource[=].searchParam[+].name = "date"
* rest.resource[=].searchParam[=].type = #date
* rest.resource[=].searchParam[+].name = "category"
* rest.resource[=].searchParam[=].type = #token
* rest.resource[=].searchParam[+].name = "_lastUpdated"
* rest.resource[=].searchParam[=].type = #date
* rest.resource[+].type = #Patient
* rest.resource[=].supportedProfile[+] = Canonical(mh-patient)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #patch
* rest.resource[=].interaction[+].code = #read
* rest.resource[=].interaction[+].code = #vread
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[+].type = #Consent
* rest.resource[=].supportedProfile[+] = Canonical(mh-consent)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #patch
* rest.resource[=].interaction[+].code = #read
* rest.resource[=].interaction[+].code = #vread
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[=].searchParam[+].name = "patient"
* rest.resource[=].searchParam[=].type = #reference
* rest.resource[+].type = #Device
* rest.resource[=].supportedProfile[+] = Canonical(mh-device)
* rest.resource[=].supportedProfile[+] = Canonical(mh-phone)
* rest.resource[=].supportedProfile[+] = Canonical(mh-app)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #patch
* rest.resource[=].interaction[+].code = #read
* rest.resource[=].interaction[+].code = #vread
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[+].type = #QuestionnaireResponse
* rest.resource[=].supportedProfile[+] = Canonical(mh-questionnaire-response)
* rest.resource[=].interaction[+].code = #create
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #patch
* rest.resource[=].interaction[+].code = #read
* rest.resource[=].interaction[+].code = #vread
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[=].searchParam[+].name = "patient"
* rest.resource[=].searchParam[=].type = #reference
* rest.resource[+].type = #AuditEvent
* rest.resource[=].supportedProfile[+] = Canonical(mh-audit)
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[=].searchParam[+].name = "patient"
* rest.resource[=].searchParam[=].type = #reference
* rest.resource[+].type = #StructureDefinition
* rest.resource[=].interaction[+].code = #read
* rest.resource[=].interaction[+].code = #search-type
* rest.resource[=].searchParam[+].name = "url"
* rest.resource[=].searchParam[=].type = #uri
* rest.interaction[+].code = #transaction
* rest.interaction[+].code = #batch

Instance: platform
InstanceOf: CapabilityStatement
Title: "National platform"
Usage: #definition
* insert Published(platform, ActorPlatform, National platform, CapabilityStatement)
* date = "2026-11-21"
* description = "What a platform does that receives: it takes each resource under the id that it is sent with, as often as it comes."
* kind = #requirements
* fhirVersion = #4.0.1
* format[0] = #json
* format[1] = #xml
* rest.mode = #server
* rest.documentation = "A platform answers a repeated update as it did the first, and says by its status whether to try again: 4xx never, 429 and 5xx later."
* rest.security.service = http://terminology.hl7.org/CodeSystem/restful-security-service#SMART-on-FHIR
* rest.security.description = "SMART Backend Services: a signed assertion, and access tokens of at most five minutes."
* rest.resource[+].type = #Observation
* rest.resource[=].supportedProfile[+] = Canonical(mh-heart-rate)
* rest.resource[=].supportedProfile[+] = Canonical(mh-blood-pressure)
* rest.resource[=].supportedProfile[+] = Canonical(mh-body-weight)
* rest.resource[=].supportedProfile[+] = Canonical(mh-measurement)
* rest.resource[=].supportedProfile[+] = Canonical(mh-interval)
* rest.resource[=].supportedProfile[+] = Canonical(mh-daily)
* rest.resource[=].supportedProfile[+] = Canonical(mh-series)
* rest.resource[=].supportedProfile[+] = Canonical(mh-sleep)
* rest.resource[=].supportedProfile[+] = Canonical(mh-session)
* rest.resource[=].supportedProfile[+] = Canonical(mh-glucose)
* rest.resource[=].supportedProfile[+] = Canonical(mh-cgm)
* rest.resource[=].supportedProfile[+] = Canonical(mh-score)
* rest.resource[=].supportedProfile[+] = Canonical(mh-self-report)
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #read
* rest.resource[+].type = #QuestionnaireResponse
* rest.resource[=].supportedProfile[+] = Canonical(mh-questionnaire-response)
* rest.resource[=].interaction[+].code = #update
* rest.resource[=].interaction[+].code = #read
