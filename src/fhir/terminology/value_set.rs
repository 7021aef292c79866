//! Membership of a code in an expanded value set.

use super::ucum;
use crate::fhir::definitions::ValueSet;

/// Whether a code belongs to a value set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership {
    In,
    Out,
    Unknown,
}

/// Answers for a code with its system, or without one for elements of type `code`, whose system the value
/// set implies (R4 §4.1.2).
pub fn membership(set: &ValueSet, system: Option<&str>, code: &str) -> Membership {
    let listed =
        set.groups.iter().any(|group| system.is_none_or(|system| group.system == system) && group.codes.contains(code));
    if listed {
        return Membership::In;
    }
    let mut answer = Membership::Out;
    for open in &set.open {
        if open != "*" && system.is_some_and(|system| system != open) {
            continue;
        }
        match grammar(open, code) {
            Membership::In => return Membership::In,
            Membership::Unknown => answer = Membership::Unknown,
            Membership::Out => {}
        }
    }
    answer
}

/// ISO 4217, the codes in use.
const CURRENCIES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN \
    BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP \
    GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW \
    KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK \
    NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN \
    SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XAG XAU \
    XBA XBB XBC XBD XCD XDR XOF XPD XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWL";

/// Systems that no package enumerates, but that a grammar or a short list decides.
fn grammar(system: &str, code: &str) -> Membership {
    let decided = match system {
        ucum::SYSTEM => ucum::valid(code),
        "urn:ietf:bcp:13" => media_type(code),
        "urn:ietf:bcp:47" => language_tag(code),
        "urn:iso:std:iso:4217" => CURRENCIES.split(' ').any(|currency| currency == code),
        _ => return Membership::Unknown,
    };
    if decided { Membership::In } else { Membership::Out }
}

/// `type/subtype` with optional parameters (RFC 6838 §4.2), or one of FHIR's short forms (R4 §3.1.0.1.10).
fn media_type(code: &str) -> bool {
    if matches!(code, "json" | "xml" | "ttl") {
        return true;
    }
    let essence = code.split(';').next().unwrap_or(code).trim();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte))
    };
    essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// Subtags of letters and digits, the first of letters (RFC 5646 §2.1, without the registry).
fn language_tag(code: &str) -> bool {
    let mut subtags = code.split('-');
    let first =
        subtags.next().is_some_and(|tag| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphabetic()));
    first && subtags.all(|tag| (1..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_three_ways() {
        let mut set = ValueSet::default();
        set.group_mut("urn:a").codes.insert("x".into());
        set.leave_open("http://snomed.info/sct");
        set.leave_open("urn:ietf:bcp:13");
        for (system, code, expected) in [
            (Some("urn:a"), "x", Membership::In),
            (Some("urn:a"), "y", Membership::Out),
            (Some("urn:b"), "x", Membership::Out),
            (None, "x", Membership::In),
            (Some("http://snomed.info/sct"), "1", Membership::Unknown),
            (Some("urn:ietf:bcp:13"), "text/plain; charset=utf-8", Membership::In),
            (Some("urn:ietf:bcp:13"), "text", Membership::Out),
        ] {
            assert_eq!(membership(&set, system, code), expected, "{system:?} {code}");
        }
    }
}
