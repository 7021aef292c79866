//! What is wrong with a message, as data: the vocabulary that every floor shares.
//!
//! An [`Issue`] becomes one `OperationOutcome.issue` (FHIR R4 §2.36). Its [`Id`] is stable, stands in one
//! catalogue with a severity, an issue type and a remedy, and is what vendors search for, tests trigger and
//! the guide documents. Issue texts name what was expected and where; they never repeat what was sent, so
//! that no patient data travels back through an error.

use std::fmt;

/// `OperationOutcome.issue.severity`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Fatal,
    Error,
    Warning,
    Information,
}

impl Severity {
    pub fn code(self) -> &'static str {
        match self {
            Severity::Fatal => "fatal",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Information => "information",
        }
    }
}

/// One entry of the catalogue, as the guide prints it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub id: Id,
    /// Stable code, `CodeSystem/issue`.
    pub code: &'static str,
    pub severity: Severity,
    /// `OperationOutcome.issue.code` (<http://hl7.org/fhir/issue-type>).
    pub kind: &'static str,
    /// What the sender can do about it.
    pub remedy: &'static str,
}

macro_rules! catalogue {
    ($($(#[$section:meta])* $name:ident $code:literal $severity:ident $kind:literal $remedy:literal;)*) => {
        /// Stable identity of an issue.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Id { $($(#[$section])* $name,)* }

        /// Every issue that the gateway can raise, in the order of the floors that raise them.
        pub const CATALOGUE: &[Entry] = &[
            $(Entry { id: Id::$name, code: $code, severity: Severity::$severity, kind: $kind, remedy: $remedy },)*
        ];
    };
}

catalogue! {
    /// Reading: bytes to tree.
    InputUnreadable "input-unreadable" Fatal "exception" "Check that the file exists and may be read.";
    JsonSyntax "json-syntax" Fatal "structure" "Send one well-formed JSON object in UTF-8 (RFC 8259).";
    JsonComment "json-comment" Error "structure" "Remove the comment; JSON has none (RFC 8259).";
    JsonComma "json-comma" Error "structure" "Put exactly one comma between two properties or items and none after the last.";
    JsonQuotes "json-quotes" Error "structure" "Put names and texts into double quotes.";
    JsonDuplicateKey "json-duplicate-key" Error "structure" "Keep one of the two properties; a JSON object may name a property once.";
    JsonTooDeep "json-too-deep" Fatal "structure" "Flatten the resource: at most 64 nested levels are read.";
    JsonTooWide "json-too-wide" Fatal "structure" "Remove properties: no FHIR object has more than 256.";
    XmlSyntax "xml-syntax" Fatal "structure" "Send one well-formed FHIR XML resource in the namespace http://hl7.org/fhir.";
    XmlText "xml-text" Error "structure" "Remove the text or the surplus element: values are attributes, and only the narrative holds text (FHIR R4 §2.6.1).";
    XmlAttribute "xml-attribute" Error "structure" "Remove the attribute: primitives have a value, elements an id and extensions a url, and nothing has others.";
    XmlNamespace "xml-namespace" Error "structure" "Put FHIR elements into the namespace http://hl7.org/fhir and the narrative's div into http://www.w3.org/1999/xhtml.";
    XmlOrder "xml-order" Error "structure" "Put the elements in the order of the definition.";
    XmlInstruction "xml-instruction" Error "structure" "Remove the processing instruction.";
    XmlDoctype "xml-doctype" Fatal "security" "Remove the DOCTYPE; document type declarations and entities are never read.";
    ResourceTypeMissing "resource-type-missing" Fatal "structure" "Begin the object with \"resourceType\" and the name of an R4 resource.";
    ResourceTypeUnknown "resource-type-unknown" Fatal "structure" "Use the name of a FHIR R4 (4.0.1) resource type.";

    /// Structure: tree against definition.
    ElementUnknown "element-unknown" Error "structure" "Remove the property or correct its name; FHIR allows no properties beyond the definition. Extra facts go into an extension.";
    ElementShape "element-shape" Error "structure" "Use the JSON shape that the definition asks for: an array where the element repeats, an object for a complex type, a plain value for a primitive.";
    ElementEmpty "element-empty" Error "structure" "Leave the property out when there is nothing to say: FHIR allows no empty arrays, objects or strings and no lone null.";
    CardinalityMin "cardinality-min" Error "required" "Add the missing element.";
    CardinalityMax "cardinality-max" Error "structure" "Remove the surplus elements.";
    ChoiceRepeated "choice-repeated" Error "structure" "Keep one of the choice's variants; value[x] holds one value of one type.";
    TypeMismatch "type-mismatch" Error "value" "Use one of the types that the profile allows here.";
    PrimitiveFormat "primitive-format" Error "value" "Write the value as its FHIR primitive type prescribes (FHIR R4 §2.24.0.1).";
    MaxLength "max-length" Error "too-long" "Shorten the value.";
    ElementIdRepeated "element-id-repeated" Error "value" "Give each element of a resource an id of its own.";
    LabelRepeated "label-repeated" Error "duplicate" "Keep one of the equal security labels.";
    MinLength "min-length" Error "value" "Lengthen the value.";
    ValueMissing "value-missing" Error "required" "Send the value itself, or one of the extensions that may stand in for it.";
    TextBlank "text-blank" Warning "value" "Send something visible, or leave the element out.";
    ValueRange "value-range" Error "value" "Keep the value between the definition's minimum and maximum.";
    FixedValue "fixed-value" Error "value" "Use exactly the value that the profile fixes.";
    PatternValue "pattern-value" Error "value" "Include everything that the profile's pattern asks for.";
    SliceMin "slice-min" Error "required" "Add the missing slice.";
    SliceMax "slice-max" Error "structure" "Remove the surplus elements of this slice.";
    SliceUnmatched "slice-unmatched" Error "structure" "Remove the element or make it match one of the slices; the slicing is closed.";
    SliceAmbiguous "slice-ambiguous" Error "structure" "Make the element match one slice only, or ask the author of the profile to tell the slices apart.";
    SliceOrder "slice-order" Error "structure" "Put the slices in the order that the profile lists them.";
    BindingRequired "binding-required" Error "code-invalid" "Use a code of the value set that the element is bound to.";
    BindingExtensible "binding-extensible" Warning "code-invalid" "Prefer a code of the value set; use another only where none of its codes fits.";
    BindingUnknown "binding-unknown" Warning "not-supported" "The value set cannot be decided here; the code was not checked.";
    BindingUndecided "binding-undecided" Error "not-supported" "Use a code that can be decided, or ask the operator for a terminology server: the element must have a code of the value set, and nobody here could tell.";
    CodeMeaningless "code-meaningless" Error "not-found" "Use a code that the value set has; the element names no system, so only its value set gives the code a meaning.";
    CodeUnknown "code-unknown" Error "code-invalid" "Use a code that the code system has; mind its spelling and case.";
    CodeUnlisted "code-unlisted" Warning "code-invalid" "Check the code: the part of the code system that is known here does not have it.";
    CodeInactive "code-inactive" Warning "business-rule" "Use the concept that replaces this one.";
    CodeSystemUnknown "code-system-unknown" Warning "not-found" "Nothing to do if the system is agreed; its definition is not loaded here, so its codes are not checked. An Observation with device codes alone (ISO/IEEE 11073) gets LOINC beside them at /devices/phd.";
    CodingSystemMissing "coding-system-missing" Warning "invalid" "Say in system which code system the code is of.";
    SystemRelative "system-relative" Error "code-invalid" "Write the system as an absolute URI, such as https://… or urn:oid:….";
    SystemUnknown "system-unknown" Error "not-found" "Write the URI of the code system exactly as it is registered; R4 (4.0.1) has no other systems under its own address.";
    IdentifierValue "identifier-value" Error "code-invalid" "Write the value as a URI, such as urn:oid:1.2.3, or name the system that issued it.";
    SystemIsValueSet "system-is-value-set" Error "invalid" "Name the code system that the code is of, not a value set that has it.";
    SystemIsSupplement "system-is-supplement" Error "invalid" "Name the code system that the supplement adds to.";
    DisplayWrong "display-wrong" Error "invalid" "Use one of the concept's own names as display, or leave the display out.";
    DisplayUnusual "display-unusual" Warning "invalid" "Use one of the concept's own names as display, or leave the display out.";
    UnitUnknown "unit-unknown" Error "code-invalid" "Use a valid UCUM code (https://ucum.org), case-sensitive.";
    Invariant "invariant" Error "invariant" "Satisfy the rule that the message quotes.";
    InvariantWarning "invariant-warning" Warning "invariant" "Consider satisfying the rule that the message quotes.";
    InvariantUndecided "invariant-undecided" Warning "not-supported" "The rule could not be evaluated; check it on your side.";
    ReferenceSuspicious "reference-suspicious" Warning "value" "Write a reference as Type/id, an absolute URL, urn:uuid:…, or #id of a contained resource.";
    ReferenceProfile "reference-profile" Error "structure" "Point to a resource that satisfies one of the profiles that the element asks for.";
    ReferencePlace "reference-place" Error "structure" "Send the target where the profile wants it: contained, in the same Bundle, or elsewhere.";
    ReferenceFormat "reference-format" Error "value" "Write a reference as Type/id, an absolute URL, urn:uuid:…, or #id of a contained resource.";
    ReferenceTarget "reference-target" Error "structure" "Point to a resource of one of the types that the element allows.";
    ReferenceUnresolved "reference-unresolved" Error "not-found" "Send the referenced resource first, or in the same Bundle with a matching fullUrl.";
    ReferenceElsewhere "reference-elsewhere" Warning "not-found" "Send the referenced resource in the same Bundle, under the fullUrl that is referred to.";
    ContainedUnresolved "contained-unresolved" Error "not-found" "Contain a resource with that id, or correct the reference.";
    ExtensionUnknown "extension-unknown" Warning "extension" "The extension is stored as sent; its definition is not known here, so its content was not checked.";
    ExtensionNotAllowed "extension-not-allowed" Error "extension" "Leave the extension out, or load the definition that its url names.";
    ExtensionUrl "extension-url" Error "extension" "Give the extension the url of its definition: absolute and without a version; inside a complex extension, the name of one of its parts.";
    ExtensionContext "extension-context" Error "extension" "Put the extension where its definition says that it may stand.";
    ExtensionModifier "extension-modifier" Error "extension" "Put what changes the meaning into modifierExtension, and nothing else.";
    ModifierExtensionUnknown "modifier-extension-unknown" Error "extension" "Remove the modifier extension or agree on its definition first; a resource whose meaning it may change cannot be accepted.";
    ImplicitRulesUnknown "implicit-rules-unknown" Error "not-supported" "Remove implicitRules; rules that are not known here cannot be applied.";
    ProfileMissing "profile-missing" Error "not-found" "Load the package that the profile is in; another profile asks for it.";
    ProfileUnknown "profile-unknown" Warning "not-supported" "The claimed profile is not loaded here; only the others were checked.";
    NarrativeInvalid "narrative-invalid" Error "structure" "Limit text.div to the XHTML subset of FHIR R4 §2.4.0: no scripts, styles, forms or foreign elements.";
    FullUrlMissing "full-url-missing" Error "required" "Give the entry a fullUrl: the address or urn:uuid: that its resource is known by.";
    FullUrlForm "full-url-form" Error "value" "Write the fullUrl as an absolute address or a urn:uuid:.";
    FullUrlMismatch "full-url-mismatch" Error "value" "End the fullUrl in the type and id of the entry's resource, or use a urn:uuid:.";
    FullUrlId "full-url-id" Warning "value" "End the fullUrl in the id of the entry's resource, or use a urn:uuid:; who fetches the address would find another resource.";
    BundleReference "bundle-reference" Error "not-found" "Send the resource in the Bundle under the fullUrl that the reference leads to: a relative reference continues the base of the fullUrl that it stands under (FHIR R4 §2.36.4.1).";
    EntryUnreachable "entry-unreachable" Error "structure" "Refer to the entry from the Composition, directly or through other entries, or leave it out.";
    EntryUnneeded "entry-unneeded" Warning "structure" "Refer to the entry from the MessageHeader, directly or through other entries, or leave it out.";
    SearchResult "search-result" Error "structure" "Make the entry what its search mode says: a match or an include with an id and of a type that was searched for, or an OperationOutcome.";
    BundleRule "bundle-rule" Error "structure" "Correct the Bundle as the message says (FHIR R4 §2.36.4).";

    /// What measurements must satisfy beyond the standard.
    MeasureUnit "measure-unit" Error "value" "Send the value in one of the units that the measure is defined for.";
    MeasureImplausible "measure-implausible" Error "value" "Check the sensor and the unit: the value lies outside what is physically possible for this measure.";
    MeasureUnusual "measure-unusual" Warning "value" "The value is rare; it was accepted. Check it if it is not expected.";
    MeasureAnswer "measure-answer" Error "code-invalid" "Send one of the codes that the text names, with its system, as a coding of valueCodeableConcept; a code of the sender's own may stand beside it.";
    MeasureAnswerOther "measure-answer-other" Warning "code-invalid" "It was accepted. Where one of the codes that the text names fits, send it as a coding of valueCodeableConcept, with the sender's own code beside it.";
    MeasureRelation "measure-relation" Error "value" "Check which value is which: together they cannot be right.";
    MeasureSamples "measure-samples" Error "value" "Write the points as decimals, E, U or L with spaces between, as many as the dimensions ask (FHIR R4 §2.24.0.12).";
    MeasureTooOld "measure-too-old" Error "value" "Correct the device's clock: no measurement lies that far back.";
    MeasureClockUnset "measure-clock-unset" Warning "value" "Check the device's clock: the time looks like that of a clock that was never set.";
    MeasureFuture "measure-future" Error "value" "Correct the device's clock: a measurement cannot lie in the future.";
    MeasureNoOffset "measure-no-offset" Error "value" "Send the time with seconds and a UTC offset; a local time is never taken for UTC.";
    PatientMissing "patient-missing" Error "required" "Name the one person whose records these are as patient=id in the address.";
    DeviceSchemaUnknown "device-schema-unknown" Error "not-supported" "Send a schema and version that the mapping of the device format lists, or send the Observation itself.";
    DeviceRecord "device-record" Error "structure" "Correct the record as the message says; the other records of the request stand on their own.";
    DeviceFile "device-file" Fatal "structure" "Send the file that the format names, as the phone or the app wrote it.";
    DeviceTruncated "device-truncated" Fatal "incomplete" "Export the file again and send it whole; the records before the break were read.";
    DeviceTypeLeftOut "device-type-left-out" Error "not-supported" "Leave records of this type out; the message says why they are not taken.";
    SourceOrder "source-order" Error "business-rule" "Send a List of mode working that is ordered by priority and names its sources by identifier or display; other Lists are not kept.";
    SourceSecondary "source-secondary" Warning "informational" "Nothing to do: the reading is kept and tagged. Change the person's List of sources if this source should count.";
    SourceOverlap "source-overlap" Warning "informational" "Say in a List of sources which of them counts, if only one should.";
    SeriesValue "series-value" Error "conflict" "Send a reading once; one that was corrected is corrected in the stretch that it went into.";
    DeviceField "device-field" Warning "informational" "The rest of the record was taken. Send the Observation itself if the field matters.";

    /// Text that people read.
    NarrativeEmpty "narrative-empty" Error "invariant" "Put some text into text.div, or leave the narrative out.";
    NarrativeLink "narrative-link" Error "invalid" "Let links lead to http(s), mailto or tel addresses or to an id inside the resource, and embed images or load them from http(s).";
    NarrativeAdvice "narrative-advice" Warning "business-rule" "Consider writing the narrative as the message says; it was accepted.";
    NarrativeControl "narrative-control" Error "business-rule" "Write the narrative in the languages, and mark its sources, as the profile asks.";
    AttachmentSize "attachment-size" Error "structure" "Correct the size, or send the data whole.";
    AttachmentEmpty "attachment-empty" Warning "invalid" "Send the data or its url, or leave the attachment out.";
    MarkupAdvice "markup-advice" Warning "invalid" "Check that the text is meant to be shown with its angle brackets; it was accepted.";
    MarkupForbidden "markup-forbidden" Error "invalid" "Remove what looks like HTML tags from the text.";

    /// Forms: a questionnaire, and a response to it.
    FormUnknown "form-unknown" Warning "not-found" "The answers were stored as sent; the questionnaire is not loaded here, so they were not checked against it.";
    FormPeriod "form-period" Warning "business-rule" "Answer the questionnaire within its effectivePeriod, or correct authored.";
    FormItemUnknown "form-item-unknown" Error "not-found" "Use the linkIds of the questionnaire that the response names.";
    FormItemPlace "form-item-place" Error "structure" "Nest and order the items as the questionnaire does: below a group in item, below a question in answer.item.";
    FormItemRepeated "form-item-repeated" Error "invalid" "Keep as many items and answers as the questionnaire allows.";
    FormItemDisabled "form-item-disabled" Error "invalid" "Remove the answers of items that enableWhen does not enable.";
    FormItemText "form-item-text" Error "invalid" "Leave out the item's text or write it as the questionnaire does.";
    FormItemType "form-item-type" Error "required" "Give every item of the questionnaire a type.";
    FormAnswerMissing "form-answer-missing" Error "required" "Answer the required item, or send the response as in-progress.";
    FormAnswerOutstanding "form-answer-outstanding" Warning "required" "Nothing yet: the response is in progress. It must be answered before the response is completed.";
    FormAnswerUnexpected "form-answer-unexpected" Error "structure" "Remove the answer; groups and displayed text have none.";
    FormAnswerType "form-answer-type" Error "invariant" "Answer with the data type that the item's type asks for.";
    FormAnswerOption "form-answer-option" Error "code-invalid" "Choose one of the answers that the questionnaire offers.";
    FormAnswerLimit "form-answer-limit" Error "invariant" "Keep the answer within the limits that the questionnaire sets.";
    FormAnswerAdvice "form-answer-advice" Warning "invariant" "Consider sending the answer as the message says; it was accepted.";
    FormCondition "form-condition" Error "business-rule" "Let enableWhen name another item of the questionnaire that is not inside the item itself.";
    FormConditionOrder "form-condition-order" Warning "business-rule" "Put the item after the one that enables it.";
    FormDerivation "form-derivation" Error "business-rule" "Let the item narrow what the questionnaire it is derived from says, or declare the derivation as inspiredBy.";
    FormDerivationUnknown "form-derivation-unknown" Warning "business-rule" "Load the questionnaire that this one is derived from, and say how with the extension questionnaire-derivationType.";

    /// Definitions: resources that say what others must look like.
    CanonicalRelative "canonical-relative" Error "invalid" "Write the url of a definition as an absolute URL or urn:.";
    CanonicalReference "canonical-reference" Warning "invalid" "Write canonicals as absolute URLs or urn:, or as #id of a contained resource.";
    CodeSystemRule "code-system-rule" Error "business-rule" "Let the code system hold what it declares, and declare what it holds, as the message says (FHIR R4 §4.8).";
    CodeSystemAdvice "code-system-advice" Warning "business-rule" "Consider declaring what the message says; others cannot tell what is meant.";
    ValueSetRule "value-set-rule" Error "invalid" "Let the value set include code systems, codes and properties that exist, written as the message says (FHIR R4 §4.9).";
    ValueSetAdvice "value-set-advice" Warning "invalid" "Check the include that the message is about; it may mean less or more than it seems to.";
    ConceptMapRule "concept-map-rule" Error "business-rule" "Map codes that the named code systems and value sets have.";
    ConceptMapAdvice "concept-map-advice" Warning "business-rule" "Check the mapping that the message is about; it was accepted.";
    StructureRule "structure-rule" Error "invalid" "Correct the definition as the message says: it would mislead, or could not be used (FHIR R4 §5.1, §5.3).";
    StructureAdvice "structure-advice" Warning "business-rule" "Check the definition, or load what it refers to; the rest of it was checked.";
    SearchParameterType "search-parameter-type" Error "business-rule" "Give the search parameter the type that its definition has.";
    SearchParameterRule "search-parameter-rule" Error "business-rule" "Let the search parameter be one that can be evaluated and that fits what it is derived from.";
    SearchParameterAdvice "search-parameter-advice" Warning "business-rule" "Check that the search parameter means what the one it is derived from means.";

    /// Searching.
    SearchParameterUnknown "search-parameter-unknown" Error "not-supported" "Use a search parameter that the CapabilityStatement lists, or send Prefer: handling=lenient.";
    SearchParameterIgnored "search-parameter-ignored" Warning "not-supported" "The parameter was ignored, as handling=lenient asks.";
    SearchValue "search-value" Error "value" "Write the search value as its parameter type prescribes (FHIR R4 §3.1.1.4).";
    SearchModifier "search-modifier" Error "not-supported" "Leave the modifier out or use one that the parameter type allows.";
    SearchTooCostly "search-too-costly" Error "too-costly" "Narrow the search, for example by patient, code or date.";
    PageUnknown "page-unknown" Error "expired" "Start the search again; a paging link belongs to the client that received it.";

    /// Who may.
    LoginRequired "login-required" Error "login" "Get an access token at the token endpoint (SMART Backend Services) and send it as Authorization: Bearer.";
    TokenInvalid "token-invalid" Error "login" "Get a new access token; this one is expired, revoked or not ours.";
    ScopeInsufficient "scope-insufficient" Error "forbidden" "Ask for a scope that covers this interaction, or state another purpose of use, within what the client is registered for.";
    GuideVersion "guide-version" Error "not-supported" "Ask the operator to register the client for a version of the guide that is enforced, or to add the package of that version.";
    PatientUnknown "patient-unknown" Error "not-found" "Register the Patient first and refer to it as Patient/id, with the id as the gateway answered it: upper and lower case differ.";
    ConsentMissing "consent-missing" Error "suppressed" "Record the person's Consent for this client, purpose and category first. Where there is one, check the id in the reference: upper and lower case differ, and who is not registered has consented to nothing.";
    ConsentDenied "consent-denied" Error "suppressed" "The person's consent does not cover this; ask the person, not the gateway.";
    ConsentUnclear "consent-unclear" Error "suppressed" "A Consent on file cannot be evaluated and therefore permits nothing; correct it.";
    ConsentElement "consent-element" Warning "business-rule" "Check its codes, references and dates: what cannot be evaluated permits nothing, and what it refuses stays refused.";
    PatientOther "patient-other" Error "business-rule" "Send what concerns another person as a resource of that person, whose own consent is asked for it.";
    ConsentProxy "consent-proxy" Warning "business-rule" "Let a holder of parental responsibility give it, or state in a RelatedPerson inside the Consent what gives the right to.";
    ConsentInvalid "consent-invalid" Error "business-rule" "Correct the Consent as the message says: a consent that cannot be evaluated would permit nothing.";
    ProcessingRestricted "processing-restricted" Error "suppressed" "Wait until the person lifts the restriction; meanwhile what is sent is stored, and neither delivered nor shown.";
    IdentityInseparable "identity-inseparable" Error "suppressed" "Let the receiver know who the person is, if it may; what modifies, is labelled by codes of nobody's, or is of an unknown measure is not told under a pseudonym.";
    RecipientUntold "recipient-untold" Error "incomplete" "See why the destination did not take it, mend that, and send its dead letters again; or tell it by other means.";
    DestinationMeasure "destination-measure" Error "not-supported" "Nothing needs to be done: the destination has no place for the measure, or one within another measure alone (the guide's page of countries says which). Whoever asks for it there asks the destination.";
    DestinationForm "destination-form" Error "not-supported" "Send the value in the form and unit that the message names, where the measurement allows it.";
    DestinationNeeds "destination-needs" Error "required" "Send what the message names with the measurement, or record it with the person or the device.";
    DestinationContext "destination-context" Error "required" "Let whoever cares for the person at the destination order the measurement there; what is measured from then on is sent.";
    DestinationLink "destination-link" Error "login" "Let the person connect the destination on her page; what is measured from then on is sent.";
    DestinationCorrection "destination-correction" Error "not-supported" "Tell the destination by other means, if it must know: it takes no second version of what it has.";
    DestinationConsent "destination-consent" Error "suppressed" "Let the person consent at the destination; a consent here does not stand for one there.";
    DestinationPerson "destination-person" Error "not-found" "Let the person link the destination again: it knows nobody by what was sent, or somebody else.";
    DestinationAccess "destination-access" Error "login" "Check the operator's credentials, certificates and registration at the destination.";
    DestinationContent "destination-content" Error "processing" "Compare what was sent (route explain) with the destination's specification, and mend the pack or the measurement.";
    DestinationTrouble "destination-trouble" Error "transient" "Wait: the destination is busy or out of order, and it is tried again.";
    PersonErased "person-erased" Error "deleted" "Register the person anew under another identifier, if the person wants that; what was erased does not come back.";
    RequestNotOwn "request-not-own" Error "forbidden" "Let the person ask by the client that she uses: registered for the purpose PATRQT, and stating it in X-Purpose-Of-Use.";

    /// The exchange itself.
    NotFound "not-found" Error "not-found" "Check the type and the id, in which upper and lower case differ; what is absent and what is withheld look the same.";
    Gone "gone" Error "deleted" "Ask for its history, where the earlier versions stand.";
    DeleteReferenced "delete-referenced" Error "conflict" "Delete what there is of the person first; to have everything of a person taken away for good, let the person ask for $erase.";
    MethodNotAllowed "method-not-allowed" Error "not-supported" "Use one of the methods in the Allow header.";
    RouteUnknown "route-unknown" Error "not-found" "Use one of the addresses that /fhir/metadata lists, /devices/open-mhealth for records of devices, or /guide/ for the implementation guide.";
    HttpMalformed "http-malformed" Error "structure" "Send a well-formed HTTP request (RFC 9112).";
    HeadTooLarge "head-too-large" Error "too-long" "Send fewer or shorter headers and a shorter address; a long search may be sent by POST to _search.";
    MediaTypeUnsupported "media-type-unsupported" Error "not-supported" "Send application/fhir+json (or application/json, application/fhir+xml) in UTF-8; records of devices as application/json or, one a line, as application/x-ndjson.";
    NotAcceptable "not-acceptable" Error "not-supported" "Accept application/fhir+json or application/fhir+xml.";
    BodyTooLarge "body-too-large" Error "too-long" "Split the body or send less; the message names the limit.";
    BodyMissing "body-missing" Error "required" "Send a body with the request: a resource, or to /devices/{format} records.";
    BodyEncoding "body-encoding" Error "structure" "Send the whole body, plain or with Content-Encoding: gzip or deflate.";
    BodyTooSlow "body-too-slow" Error "timeout" "Send the whole body within the time limit.";
    TypeNotInUrl "type-not-in-url" Error "invalid" "Send a resource of the type that the URL names.";
    IdMismatch "id-mismatch" Error "invalid" "Give the resource the id that the URL names.";
    IdRefused "id-refused" Error "forbidden" "Send what is new by POST without an id, or by PUT with a random UUID (version 4 or 7) in lower case, or with the client's own id, a dot and a name without dots. What stands keeps its person.";
    IdInvalid "id-invalid" Error "value" "Use an id of 1 to 64 letters, digits, '-' and '.'.";
    PatchInvalid "patch-invalid" Error "invalid" "Send a FHIRPath Patch (Parameters), a JSON Patch (RFC 6902) or an XML Patch (RFC 5261) of at most 500 operations.";
    PatchFailed "patch-failed" Error "processing" "Read the resource as it stands now and make the patch fit it; nothing was changed.";
    OperationParameter "operation-parameter" Error "value" "Correct the parameters of the operation as the message says.";

    /// Subscriptions: who is told what happens.
    SubscriptionTopic "subscription-topic" Error "not-supported" "Put the canonical of a topic into criteria; the CapabilityStatement lists them at Subscription, and GET [base]/Basic shows them.";
    SubscriptionFilter "subscription-filter" Error "not-supported" "Filter by the parameters that the topic names, without modifiers and chains.";
    SubscriptionChannel "subscription-channel" Error "not-supported" "Use the channel rest-hook or websocket.";
    SubscriptionEndpoint "subscription-endpoint" Error "security" "Give a rest-hook an https address that everybody on the internet can reach, and a websocket none.";
    SubscriptionPayload "subscription-payload" Error "not-supported" "Ask for application/fhir+json or application/fhir+xml and say how much is to be told: empty, id-only or full-resource.";
    SubscriptionHeader "subscription-header" Error "value" "Write each header as Name: value; those that are HTTP's own are set by the gateway.";
    SubscriptionElement "subscription-element" Error "business-rule" "Correct the element as the message says.";
    SubscriptionQuota "subscription-quota" Error "throttled" "Delete subscriptions that are needed no more.";
    InteractionUnsupported "interaction-unsupported" Error "not-supported" "See /fhir/metadata for the interactions that exist.";
    DuplicateIdentifier "duplicate-identifier" Error "conflict" "The identifier stands for other content already: send the corrected resource with PUT to the address that it has, or use a new identifier. A corrected record of a device has an id of its own; where its sender gives none, GET /receipts?id= tells the Observation to PUT.";
    Duplicate "duplicate" Information "informational" "Nothing to do: the same resource or record was accepted before, and it was not stored twice.";
    MappingCorrected "mapping-corrected" Information "informational" "Nothing to do: a newer version of the mapping read the record again as it had come, and the resource follows it; whoever received an earlier version gets this one.";
    VersionConflict "version-conflict" Error "conflict" "Read the current version and send If-Match with its ETag.";
    MultipleMatches "multiple-matches" Error "multiple-matches" "Make the criteria match at most one resource.";
    ConditionUnsupported "condition-unsupported" Error "not-supported" "Name by at least one search parameter what the condition is about.";
    IdempotencyKeyInvalid "idempotency-key-invalid" Error "value" "Send an Idempotency-Key of 1 to 255 characters, or none.";
    IdempotencyKeyReused "idempotency-key-reused" Error "conflict" "Use a new Idempotency-Key for another request.";
    BundleTooManyEntries "bundle-too-many-entries" Error "too-costly" "Split the Bundle, or send fewer records at once.";
    EntryFailed "entry-failed" Error "processing" "The transaction was rolled back because of this entry; nothing of it was stored.";
    UploadVersion "upload-version" Error "not-supported" "Speak tus 1.0.0 (https://tus.io) and say so in Tus-Resumable.";
    UploadOffset "upload-offset" Error "conflict" "Ask for the offset by HEAD and go on there, one request at a time.";
    UploadQuota "upload-quota" Error "throttled" "Wait until earlier uploads are worked off, or remove some.";
    ExportFailed "export-failed" Error "exception" "Begin the export anew; ask the operator if that fails, too. The log says why under the id of the export.";
    TooManyRequests "too-many-requests" Error "throttled" "Wait for answers before sending more, and try again after the time in Retry-After; nothing was stored.";
    Overloaded "overloaded" Error "throttled" "Try again after the time in Retry-After; nothing was stored.";
    DestinationFull "destination-full" Error "throttled" "Try again after the time in Retry-After; nothing was stored.";
    StorageFull "storage-full" Error "no-store" "Try again later; the operator has been told. Nothing was stored.";
    StorageFailed "storage-failed" Error "exception" "Try again later, and send the same: it is kept once. The operator has been told.";
    ResourceDamaged "resource-damaged" Error "exception" "Asking again does not help until the operator has restored it; the log says which one it is. Who sent it may write a new version over it by a PUT, or send it under a new identifier; a Consent that is damaged can be withdrawn.";
    AnswerIncomplete "answer-incomplete" Warning "incomplete" "Take the answer for incomplete, and ask again when the operator has restored what is damaged; the log says what that is.";
    NoIssues "no-issues" Information "informational" "Nothing to do.";
    IssuesLeftOut "issues-left-out" Information "informational" "Correct what is listed and send again; validate a file locally to see everything.";
    Internal "internal" Fatal "exception" "Try again later; the operator has been told.";
}

impl Id {
    pub fn entry(self) -> &'static Entry {
        &CATALOGUE[self as usize]
    }

    pub fn code(self) -> &'static str {
        self.entry().code
    }

    /// Where the published guide explains it.
    pub fn page(self) -> String {
        format!("{GUIDE}/issues#{}", self.code())
    }

    /// What to do, in the words of the format that was sent.
    pub fn remedy(self, is_xml: bool) -> &'static str {
        let of_xml = || IN_XML.iter().find(|(id, _)| *id == self).map(|(_, remedy)| *remedy);
        is_xml.then(of_xml).flatten().unwrap_or(self.entry().remedy)
    }
}

/// Remedies that speak of JSON, as whoever sends XML reads them.
const IN_XML: [(Id, &str); 4] = [
    (
        Id::ResourceTypeMissing,
        "Begin the document with an element that has the name of an R4 resource, in the namespace http://hl7.org/fhir.",
    ),
    (
        Id::ElementUnknown,
        "Remove the element or correct its name; FHIR allows no elements beyond the definition. Extra facts go into an extension.",
    ),
    (
        Id::ElementShape,
        "Use the form that the definition asks for: an element once or, where it repeats, once for each; child elements for a complex type, the attribute value for a primitive.",
    ),
    (
        Id::ElementEmpty,
        "Leave the element out when there is nothing to say: FHIR allows none without a value, children or extensions.",
    ),
];

/// Whom an OperationOutcome is for.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Where the guide is that explains the issues.
    pub pages: &'a str,
    /// Whether the reader sent XML.
    pub is_xml: bool,
}

impl Default for Reader<'_> {
    fn default() -> Self {
        Reader { pages: GUIDE, is_xml: false }
    }
}

/// Where the guide is published.
pub use super::ours::PAGES as GUIDE;

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// Where in the sent text an issue lies: 1-based line and column, 0 when unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    pub id: Id,
    pub severity: Severity,
    /// FHIRPath of the element, e.g. `Observation.component[1].value.code`; empty when there is none.
    pub expression: String,
    pub position: Position,
    /// What is wrong, in one sentence that expects nothing of its reader; never what was sent.
    pub text: String,
}

impl Issue {
    pub fn new(id: Id, expression: impl Into<String>, text: impl Into<String>) -> Self {
        Issue {
            id,
            severity: id.entry().severity,
            expression: expression.into(),
            position: Position::default(),
            text: text.into(),
        }
    }

    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = position;
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity <= Severity::Error
    }
}

/// Whether anything in the list stands in the way.
pub fn has_errors(issues: &[Issue]) -> bool {
    issues.iter().any(Issue::is_error)
}

/// Canonical of the code system that the ids belong to.
pub use super::ours::ISSUE_SYSTEM;

/// Issues of one answer: nobody reads more, and hostile content could ask for millions.
pub const MAX_LISTED: usize = 200;

/// The OperationOutcome of an answer. An empty list says "all ok", as `$validate` must; of a long one the gravest are
/// listed, and a last issue counts the others.
pub fn operation_outcome(issues: &[Issue], reader: Reader<'_>) -> serde_json::Value {
    if issues.len() <= MAX_LISTED {
        return full_outcome(issues, reader);
    }
    let mut order: Vec<usize> = (0..issues.len()).collect();
    order.sort_by_key(|at| issues[*at].severity);
    let (kept, left) = order.split_at_mut(MAX_LISTED - 1);
    kept.sort_unstable();
    let mut listed: Vec<serde_json::Value> = kept.iter().map(|at| issue_value(&issues[*at], reader)).collect();
    let errors = left.iter().filter(|at| issues[**at].is_error()).count();
    let text = format!("{} further issues are not listed; {errors} of them are errors.", left.len());
    listed.push(issue_value(&Issue::new(Id::IssuesLeftOut, "", text), reader));
    serde_json::json!({"resourceType": "OperationOutcome", "issue": listed})
}

/// The OperationOutcome that carries all issues, however many.
pub fn full_outcome(issues: &[Issue], reader: Reader<'_>) -> serde_json::Value {
    let listed: Vec<serde_json::Value> = if issues.is_empty() {
        vec![issue_value(&Issue::new(Id::NoIssues, "", "No issues found."), reader)]
    } else {
        issues.iter().map(|issue| issue_value(issue, reader)).collect()
    };
    serde_json::json!({"resourceType": "OperationOutcome", "issue": listed})
}

fn issue_value(issue: &Issue, reader: Reader<'_>) -> serde_json::Value {
    let entry = issue.id.entry();
    let mut value = serde_json::json!({
        "severity": issue.severity.code(),
        "code": entry.kind,
        "details": {"coding": [{"system": ISSUE_SYSTEM, "code": entry.code}], "text": issue.text},
        "diagnostics": format!("{} See {}/issues#{}", issue.id.remedy(reader.is_xml), reader.pages, entry.code),
    });
    if !issue.expression.is_empty() {
        value["expression"] = serde_json::json!([issue.expression]);
    }
    let mut extensions = Vec::new();
    if issue.position.line > 0 {
        extensions.push(extension("issue-line", "valueInteger", &issue.position.line.into()));
        extensions.push(extension("issue-col", "valueInteger", &issue.position.column.into()));
    }
    extensions.push(extension("message-id", "valueString", &entry.code.into()));
    value["extension"] = extensions.into();
    value
}

/// One of the standard's extensions of an issue.
fn extension(name: &str, key: &str, value: &serde_json::Value) -> serde_json::Value {
    let url = format!("http://hl7.org/fhir/StructureDefinition/operationoutcome-{name}");
    serde_json::json!({"url": url, key: value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_keep_the_gravest_in_their_order() {
        let issue = |at: usize| {
            let id = if at.is_multiple_of(2) { Id::BindingExtensible } else { Id::CardinalityMin };
            Issue::new(id, format!("A.b[{at}]"), "x")
        };
        let short: Vec<Issue> = (0..MAX_LISTED).map(issue).collect();
        assert_eq!(operation_outcome(&short, Reader::default())["issue"].as_array().unwrap().len(), MAX_LISTED);
        let long: Vec<Issue> = (0..3 * MAX_LISTED).map(issue).collect();
        let outcome = operation_outcome(&long, Reader::default());
        let listed = outcome["issue"].as_array().unwrap();
        assert_eq!(listed.len(), MAX_LISTED);
        assert!(listed[..MAX_LISTED - 1].iter().all(|issue| issue["severity"] == "error"));
        assert_eq!(listed[1]["expression"][0], "A.b[3]");
        let last = &listed[MAX_LISTED - 1];
        assert_eq!(last["details"]["coding"][0]["code"], Id::IssuesLeftOut.code());
        assert_eq!(last["details"]["text"], "401 further issues are not listed; 101 of them are errors.");
    }

    #[test]
    fn catalogue_is_indexed_by_id_and_codes_are_unique() {
        let mut codes = std::collections::BTreeSet::new();
        for entry in CATALOGUE {
            assert_eq!(entry.id.entry().code, entry.code);
            assert!(codes.insert(entry.code), "{} stands twice", entry.code);
            assert!(entry.remedy.ends_with('.'), "{}: a remedy is a sentence", entry.code);
        }
    }

    #[test]
    fn nothing_to_say_is_said_like_everything_else() {
        let outcome = operation_outcome(&[], Reader::default());
        assert_eq!(outcome["issue"][0]["severity"], "information");
        assert_eq!(outcome["issue"][0]["details"]["coding"][0]["code"], Id::NoIssues.code());
    }

    #[test]
    fn outcome_carries_place_and_remedy() {
        let issue = Issue::new(Id::CardinalityMin, "Observation.code", "Observation.code is missing.")
            .at(Position { line: 3, column: 7 });
        let outcome = operation_outcome(std::slice::from_ref(&issue), Reader::default());
        assert_eq!(outcome["issue"][0]["details"]["coding"][0]["code"], "cardinality-min");
        assert_eq!(outcome["issue"][0]["expression"][0], "Observation.code");
        assert_eq!(outcome["issue"][0]["extension"][0]["valueInteger"], 3);
        assert_eq!(outcome["issue"][0]["extension"][2]["valueString"], "cardinality-min");
        let said = outcome["issue"][0]["diagnostics"].as_str().unwrap();
        assert!(said.ends_with(&format!("{GUIDE}/issues#cardinality-min")), "{said}");
        let reader = Reader { pages: "https://gateway.example.org/guide", is_xml: false };
        let said = operation_outcome(&[issue], reader)["issue"][0]["diagnostics"].to_string();
        assert!(said.contains(" See https://gateway.example.org/guide/issues#cardinality-min"), "{said}");
    }

    #[test]
    fn who_sends_xml_reads_nothing_of_json() {
        let names_json = |remedy: &str| ["JSON", "propert", "array", "object"].iter().any(|word| remedy.contains(word));
        for entry in CATALOGUE.iter().filter(|entry| !entry.code.starts_with("json-")) {
            let about_formats = ["media-type-unsupported", "not-acceptable", "patch-invalid", "value-set-rule"];
            if !about_formats.contains(&entry.code) {
                assert!(!names_json(entry.id.remedy(true)), "{}", entry.code);
            }
        }
        assert!(names_json(Id::ElementUnknown.remedy(false)));
    }
}
