//! A code of ethics for the data of phones and wearables, each clause of which something holds.
//!
//! A clause is held by a test of this repository, or by the configuration: then [`Clause::check`] says what in a
//! configuration breaks it. Where neither holds it yet, its status says so. Sources: Regulation (EU) 2016/679 (GDPR),
//! Regulation (EU) 2025/327 (EHDS), ISO/TS 82304-2. What a configuration is made of is not known here; the caller says it
//! as [`Setting`]s.

/// What a clause looks at in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    pub destinations: Vec<Destination>,
    /// Whether a code that must be of a value set is refused where nobody can tell.
    pub refuses_undecided: bool,
    /// Whether clients may give any id that is free.
    pub takes_any_id: bool,
    /// Address of the terminology server, where there is one.
    pub terminology_server: Option<String>,
    /// Whether anybody but this machine can reach the gateway.
    pub is_public: bool,
    /// Whether the certificate is one that others can check.
    pub has_certificate: bool,
}

/// Where data is sent.
#[derive(Clone, Debug, Default)]
pub struct Destination {
    pub name: String,
    pub url: String,
    /// v3-ActReason code.
    pub purpose: String,
    /// Whether the destination is limited to some types, codes or categories.
    pub is_limited: bool,
    /// Whether the gateway proves to it who it is.
    pub is_authenticated: bool,
}

/// How a clause is held.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// By tests of this repository, whatever the configuration says: their names.
    ByTests(&'static [&'static str]),
    /// By a look at the configuration, which returns what breaks it.
    ByConfiguration(fn(&Setting) -> Vec<String>),
}

/// One clause.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    pub id: &'static str,
    pub title: &'static str,
    pub text: &'static str,
    /// Where the duty comes from.
    pub source: &'static str,
    pub held: Held,
}

impl Clause {
    pub fn status(&self) -> &'static str {
        match self.held {
            Held::ByTests(_) => "enforced",
            Held::ByConfiguration(_) => "checked",
        }
    }

    /// What in a configuration breaks the clause.
    pub fn check(&self, setting: &Setting) -> Vec<String> {
        match self.held {
            Held::ByConfiguration(check) => check(setting),
            Held::ByTests(_) => Vec::new(),
        }
    }
}

/// Purposes that serve somebody else than the person (v3-ActReason): marketing, insurance and employment decisions, legal
/// action.
const FOREIGN_PURPOSES: [&str; 7] = ["HMARKT", "HLEGAL", "HPAYMT", "COVERAGE", "ELIGDTRM", "CLMATTCH", "MEMADMIN"];

/// The code, in its order.
pub const CLAUSES: &[Clause] = &[
    Clause {
        id: "consent-first",
        title: "Nothing without consent",
        text: "No observation is taken, disclosed or read unless a consent of the person permits it for that party, purpose and kind of data. Silence is a no.",
        source: "GDPR Art. 6(1)(a), 9(2)(a)",
        held: Held::ByTests(&["consents::nothing_is_taken_in_that_no_consent_covers"]),
    },
    Clause {
        id: "withdrawal",
        title: "A withdrawal takes effect at once",
        text: "Once a person has withdrawn, nothing more leaves, also not what was queued before.",
        source: "GDPR Art. 7(3)",
        held: Held::ByTests(&[
            "push::what_is_kept_is_delivered_and_what_is_withdrawn_is_not",
            "consents::no_push_is_acknowledged_after_a_withdrawal",
        ]),
    },
    Clause {
        id: "unclear-is-no",
        title: "What cannot be evaluated permits nothing",
        text: "A consent with parts that are not understood, a code that cannot be checked, a purpose that is not known: each counts as a refusal.",
        source: "GDPR Art. 25(2)",
        held: Held::ByConfiguration(undecided),
    },
    Clause {
        id: "own-purposes",
        title: "Only purposes that serve the person or public health",
        text: "No destination receives data for marketing, for insurance or employment decisions, or for legal action against the person.",
        source: "EHDS Art. 54",
        held: Held::ByConfiguration(foreign_purposes),
    },
    Clause {
        id: "minimal",
        title: "No more than is needed",
        text: "Each destination is told which kinds of data it receives; none receives everything by default.",
        source: "GDPR Art. 5(1)(c)",
        held: Held::ByConfiguration(unlimited),
    },
    Clause {
        id: "protected-on-the-way",
        title: "Never in the clear",
        text: "Data travels encrypted to parties that prove who they are, and comes in under a certificate that senders can check.",
        source: "GDPR Art. 32(1)(a)",
        held: Held::ByConfiguration(in_the_clear),
    },
    Clause {
        id: "known-parties",
        title: "Every party is known",
        text: "No open address returns or takes data of a person: each client is registered, each destination is told who calls.",
        source: "GDPR Art. 32(1)(b)",
        held: Held::ByConfiguration(unproven),
    },
    Clause {
        id: "codes-not-people",
        title: "Questions about codes name no person",
        text: "A terminology server is asked about codes alone, and over an encrypted connection.",
        source: "GDPR Art. 5(1)(c)",
        held: Held::ByConfiguration(terminology_in_the_clear),
    },
    Clause {
        id: "no-probing",
        title: "Nobody learns who is here",
        text: "What is withheld and what does not exist look the same; ids of others cannot be found by trying.",
        source: "GDPR Art. 5(1)(f)",
        held: Held::ByConfiguration(probing),
    },
    Clause {
        id: "traceable",
        title: "Everything is on record",
        text: "Each acceptance, refusal, disclosure and reading leaves an audit event that names party, purpose and the consent that decided, written in the same step as the act.",
        source: "EHDS Art. 9; GDPR Art. 5(2)",
        held: Held::ByTests(&[
            "audit::every_refusal_of_a_client_is_on_record",
            "faults::a_disclosure_is_on_record_even_if_nobody_knows_whether_it_arrived",
        ]),
    },
    Clause {
        id: "open-to-the-person",
        title: "The person can see it",
        text: "A person can read who did what with the data, under which version of which consent.",
        source: "GDPR Art. 15; EHDS Art. 9",
        held: Held::ByTests(&["audit::a_person_hears_what_consent_refused"]),
    },
    Clause {
        id: "nothing-repeated",
        title: "Errors repeat nothing",
        text: "No error message, no log line and no address holds measurements, names or tokens.",
        source: "GDPR Art. 5(1)(f)",
        held: Held::ByTests(&[
            "bad_input::credentials_are_not_repeated",
            "fhir::validate::no_issue_repeats_what_was_sent",
        ]),
    },
    Clause {
        id: "accurate",
        title: "No number that cannot be true",
        text: "A value outside what is possible, in a unit that its code does not have, or from a clock that is wrong is refused, with the reason; it is never corrected in silence.",
        source: "GDPR Art. 5(1)(d)",
        held: Held::ByTests(&[
            "validate::mistakes_of_the_text_hide_nothing_and_have_their_place",
            "bad_input::what_is_no_valid_resource_is_refused",
        ]),
    },
    Clause {
        id: "nothing-lost",
        title: "What was accepted is kept",
        text: "An answer of success means that the data is on the disk; a crash loses nothing and doubles nothing.",
        source: "GDPR Art. 32(1)(b)",
        held: Held::ByTests(&["kill::nothing_acknowledged_is_lost_by_kills"]),
    },
    Clause {
        id: "sensitive-first",
        title: "Sensitive kinds are restricted",
        text: "Mental health, reproductive health and substance use are restricted by default, and a consent to other kinds does not cover them.",
        source: "GDPR Art. 9",
        held: Held::ByTests(&["guide::sensitive_categories_are_restricted_by_default"]),
    },
    Clause {
        id: "erasure",
        title: "Erased means gone",
        text: "A person can have the data erased, with proof, and what was disclosed is named.",
        source: "GDPR Art. 17, 19",
        held: Held::ByTests(&[
            "rights::whoever_is_erased_is_in_no_file_any_more",
            "rights::whoever_is_half_erased_is_absent_and_then_gone",
        ]),
    },
    Clause {
        id: "portable",
        title: "The person can take it along",
        text: "A person can take out everything, with consents and access log, in a form that others read.",
        source: "GDPR Art. 20; EHDS Art. 7",
        held: Held::ByTests(&["rights::an_export_is_all_of_it_whatever_apps_may_see"]),
    },
];

fn undecided(setting: &Setting) -> Vec<String> {
    let lax = (!setting.refuses_undecided)
        .then(|| "exchange.unanswered_required lets codes pass that nobody could check; set it to refuse".to_owned());
    lax.into_iter().collect()
}

fn foreign_purposes(setting: &Setting) -> Vec<String> {
    let foreign = setting.destinations.iter().filter(|each| FOREIGN_PURPOSES.contains(&each.purpose.as_str()));
    foreign.map(|each| format!("destination {} is served for {}", each.name, each.purpose)).collect()
}

fn unlimited(setting: &Setting) -> Vec<String> {
    let open = setting.destinations.iter().filter(|each| !each.is_limited);
    open.map(|each| format!("destination {} is limited to no kinds, codes or categories", each.name)).collect()
}

fn in_the_clear(setting: &Setting) -> Vec<String> {
    let open = setting.destinations.iter().filter(|each| !each.url.starts_with("https://"));
    let mut broken: Vec<String> = open.map(|each| format!("destination {} has no https address", each.name)).collect();
    if setting.is_public && !setting.has_certificate {
        broken.push("listen reaches beyond this machine without a certificate".to_owned());
    }
    broken
}

fn unproven(setting: &Setting) -> Vec<String> {
    let open = setting.destinations.iter().filter(|each| !each.is_authenticated);
    open.map(|each| format!("destination {} is not told who calls; give it fhir.auth", each.name)).collect()
}

fn terminology_in_the_clear(setting: &Setting) -> Vec<String> {
    let open = setting.terminology_server.iter().filter(|url| !url.starts_with("https://"));
    open.map(|_| "terminology.url is no https address".to_owned()).collect()
}

fn probing(setting: &Setting) -> Vec<String> {
    let open = setting
        .takes_any_id
        .then(|| "exchange.chosen_ids = \"any\" lets clients find out which ids exist; set it to \"own\"".to_owned());
    open.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Setting {
        let destination = Destination {
            name: "registry".to_owned(),
            url: "https://registry.example/fhir".to_owned(),
            purpose: "TREAT".to_owned(),
            is_limited: true,
            is_authenticated: true,
        };
        Setting { destinations: vec![destination], refuses_undecided: true, ..Setting::default() }
    }

    type Change = dyn Fn(&mut Setting);

    fn broken(setting: &Setting) -> Vec<&'static str> {
        CLAUSES.iter().filter(|clause| !clause.check(setting).is_empty()).map(|clause| clause.id).collect()
    }

    #[test]
    fn each_clause_that_a_configuration_holds_can_be_broken_by_one() {
        assert!(broken(&good()).is_empty());
        let changed = |change: &Change| {
            let mut setting = good();
            change(&mut setting);
            broken(&setting)
        };
        let cases: [(&str, &Change); 8] = [
            ("unclear-is-no", &|setting| setting.refuses_undecided = false),
            ("own-purposes", &|setting| setting.destinations[0].purpose = "HMARKT".to_owned()),
            ("minimal", &|setting| setting.destinations[0].is_limited = false),
            ("protected-on-the-way", &|setting| setting.destinations[0].url = "http://registry.example".to_owned()),
            ("protected-on-the-way", &|setting| setting.is_public = true),
            ("known-parties", &|setting| setting.destinations[0].is_authenticated = false),
            ("codes-not-people", &|setting| setting.terminology_server = Some("http://tx.example".to_owned())),
            ("no-probing", &|setting| setting.takes_any_id = true),
        ];
        for (clause, change) in &cases {
            assert_eq!(changed(change), [*clause]);
        }
        let by_configuration = CLAUSES.iter().filter(|clause| matches!(clause.held, Held::ByConfiguration(_)));
        for clause in by_configuration {
            assert!(cases.iter().any(|(id, _)| *id == clause.id), "nothing breaks {}", clause.id);
        }
    }
}
