// Code systems for what no other system names. Each is complete; what LOINC, SNOMED CT, ISO/IEEE 11073 or the HL7
// personal health record guide can say is said with theirs.

RuleSet: OwnSystem
* ^status = #draft
* ^experimental = false
* ^caseSensitive = true
* ^content = #complete

RuleSet: Category(code, display, confidentiality)
* #{code} {display}
  * ^property[+].code = #confidentiality
  * ^property[=].valueCoding = $confidentiality#{confidentiality}

CodeSystem: MeasureCategory
Id: measure-category
Title: "Categories of measurements"
Description: "The kinds of data that a person switches on or off. One list serves consents, scopes, audit events and the label of an app. The property says how confidential a measurement of the kind is unless it says so itself."
* insert OwnSystem
* ^property[+].code = #confidentiality
* ^property[=].uri = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
* ^property[=].description = "Code of v3-Confidentiality that holds for measurements which carry none."
* ^property[=].type = #Coding
* insert Category(activity, "Activity and movement", N)
* insert Category(blood-pressure, "Blood pressure", N)
* insert Category(coagulation, "Blood coagulation", N)
* insert Category(device, "State of the devices", N)
* insert Category(glucose, "Blood glucose and ketones", N)
* insert Category(heart-rate, "Heart rate and rhythm", N)
* insert Category(height, "Height and head circumference", N)
* insert Category(lifestyle, "Tobacco and alcohol", R)
* insert Category(lung-function, "Lung function", N)
* insert Category(medication, "Taking of medicines", N)
* insert Category(mental-health, "Mood and mental health", R)
* insert Category(nutrition, "Food and drink", N)
* insert Category(oxygen-saturation, "Oxygen saturation", N)
* insert Category(questionnaire, "Scores and questionnaires", N)
* insert Category(reproductive, "Cycle and reproductive health", R)
* insert Category(respiratory-rate, "Breathing rate", N)
* insert Category(sleep, "Sleep", N)
* insert Category(temperature, "Temperature", N)
* insert Category(weight, "Weight and body composition", N)

CodeSystem: DataOrigin
Id: data-origin
Title: "Origin of data"
Description: "Who stands behind a statement, so that what persons enter stays distinguishable from what professionals do."
* insert OwnSystem
* #patient-generated "Patient-generated" "Made by a person or the person's devices, outside of professional care."
* #professional "Professional" "Made or taken over by a health professional."

CodeSystem: SourceRole
Id: source-role
Title: "Role of a source"
Description: "How a reading stands to others of the same measure and time. The gateway writes it as a tag; what has none counts."
* insert OwnSystem
* #secondary "Secondary" "A source that the person prefers has a reading of the same time: this one is kept and does not count."

CodeSystem: RecordingMethod
Id: recording-method
Title: "Recording method"
Description: "How a value came to be."
* insert OwnSystem
* #automatic "Automatic" "A device measured and transmitted it; nobody typed it."
* #manual "Manual" "A person typed or chose it."
* #derived "Derived" "It was computed from other values."
* #unknown "Unknown" "The source does not say."

CodeSystem: Exercise
Id: exercise
Title: "Kinds of exercise"
Description: "What was exercised, as coarse as devices agree on it."
* insert OwnSystem
* #walking "Walking"
* #running "Running"
* #hiking "Hiking"
* #cycling "Cycling"
* #swimming "Swimming"
* #rowing "Rowing"
* #strength "Strength training"
* #flexibility "Stretching, yoga and the like"
* #dance "Dance"
* #ball "Ball and racket games"
* #winter "Skiing and other winter sports"
* #wheelchair "Moving in a wheelchair"
* #other "Another kind"

CodeSystem: DeviceKind
Id: device-kind
Title: "Kinds of devices"
Description: "What a device of a person is."
* insert OwnSystem
* #app "App" "A program on a phone or in a cloud."
* #phone "Phone or tablet"
* #watch "Watch"
* #band "Band"
* #ring "Ring"
* #patch "Patch or body-worn sensor"
* #chest-strap "Chest strap"
* #cuff "Blood pressure monitor"
* #scale "Scale"
* #thermometer "Thermometer"
* #oximeter "Pulse oximeter"
* #glucose-meter "Glucose meter"
* #glucose-sensor "Continuous glucose sensor"
* #spirometer "Spirometer or peak flow meter"
* #inhaler "Connected inhaler"
* #sleep-mat "Sleep mat or bedside sensor"
* #other "Another device"

CodeSystem: AssessmentScheme
Id: assessment-scheme
Title: "Schemes that assess apps"
Description: "Certificates, labels and registers by which health apps are admitted or rated in Europe."
* insert OwnSystem
* #iso-82304-2 "ISO/TS 82304-2" "Quality and reliability of health apps, scored A to E."
* #ehds-label "EHDS label" "Label of a wellness app under Article 47 of Regulation (EU) 2025/327."
* #diga "DiGA" "Register of digital health applications, Germany."
* #mhealthbelgium "mHealthBelgium" "Levels M1 to M3, Belgium."
* #appsaludable "AppSaludable" "Badge of the Andalusian quality agency, Spain."
* #appsalut "AppSalut" "Accreditation of TIC Salut, Catalonia, Spain."
* #kanta "Kanta" "Joint testing and approval for the personal health record, Finland."
* #mes "Mon espace santé" "Referencing in the catalogue of services, France."

CodeSystem: MealTime
Id: meal-time
Title: "Time to the meal"
Description: "How a glucose value stands to a meal."
* insert OwnSystem
* #fasting "Fasting"
* #before "Before a meal"
* #after "After a meal"
* #bedtime "At bedtime"
* #general "Unrelated to a meal"

CodeSystem: Consciousness
Id: consciousness
Title: "Levels of consciousness"
Description: "ACVPU, as early warning scores ask for it."
* insert OwnSystem
* #alert "Alert"
* #confusion "Newly confused"
* #voice "Responds to voice"
* #pain "Responds to pain"
* #unresponsive "Unresponsive"

ValueSet: ConsciousnessAll
Id: consciousness-all
Title: "Levels of consciousness"
Description: "Every level."
* include codes from system Consciousness

ValueSet: MeasureCategoryAll
Id: measure-category-all
Title: "Categories of measurements"
Description: "Every category."
* include codes from system MeasureCategory

ValueSet: DataOriginAll
Id: data-origin-all
Title: "Origin of data"
Description: "Every origin."
* include codes from system DataOrigin

ValueSet: RecordingMethodAll
Id: recording-method-all
Title: "Recording method"
Description: "Every recording method."
* include codes from system RecordingMethod

ValueSet: ExerciseAll
Id: exercise-all
Title: "Kinds of exercise"
Description: "Every kind of exercise."
* include codes from system Exercise

ValueSet: DeviceKindAll
Id: device-kind-all
Title: "Kinds of devices"
Description: "Every kind of device."
* include codes from system DeviceKind

ValueSet: DeviceKindMeasuring
Id: device-kind-measuring
Title: "Kinds of devices that measure"
Description: "Every kind of device but apps and phones."
* include codes from system DeviceKind
* exclude DeviceKind#app
* exclude DeviceKind#phone

ValueSet: AssessmentSchemeAll
Id: assessment-scheme-all
Title: "Schemes that assess apps"
Description: "Every scheme."
* include codes from system AssessmentScheme

ValueSet: MealTimeAll
Id: meal-time-all
Title: "Time to the meal"
Description: "Every relation to a meal."
* include codes from system MealTime

ValueSet: Statistic
Id: statistic
Title: "Statistics of a day or a week"
Description: "What a daily or weekly value is of the values under it."
* $statistics#average
* $statistics#maximum
* $statistics#minimum
* $statistics#median
* $statistics#count
* $statistics#sum
* $statistics#total-count
* $statistics#std-dev

ValueSet: SleepStage
Id: sleep-stage-concepts
Title: "Stages of sleep"
Description: "Awake, asleep, asleep without and with rapid eye movement, in SNOMED CT."
* $sct#248218005
* $sct#248220008
* $sct#60984000
* $sct#89129007

ValueSet: EcgLead
Id: ecg-lead
Title: "Leads of an electrocardiogram"
Description: "The lead that a wearable records, by the code of its potential in ISO/IEEE 11073-10101; the first one where the lead is not known."
* $mdc#131328
* $mdc#131329
* $mdc#131330
* $mdc#131389

ValueSet: ShortStatus
Id: result-status
Title: "Status of a measurement"
Description: "A wearable registers nothing and cancels nothing."
* http://hl7.org/fhir/observation-status#preliminary
* http://hl7.org/fhir/observation-status#final
* http://hl7.org/fhir/observation-status#amended
* http://hl7.org/fhir/observation-status#corrected
* http://hl7.org/fhir/observation-status#entered-in-error
* http://hl7.org/fhir/observation-status#unknown

CodeSystem: MenstrualFlow
Id: menstrual-flow
Title: "Menstrual flow"
Description: "How strong a menstrual bleeding was, as coarse as apps ask for it."
* insert OwnSystem
* #none "None"
* #light "Light"
* #medium "Medium"
* #heavy "Heavy"
* #unspecified "Not said"
