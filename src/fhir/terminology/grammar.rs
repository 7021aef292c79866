//! Code systems that no package enumerates, but that a grammar or a short list decides.
//!
//! What is registered in thousands (three-letter languages, subdivisions of countries, media types) is judged by its
//! form, and where the form alone says too little the answer is that nobody here knows.

use super::ucum;
use crate::fhir::definitions::Filter;

/// ISO 4217, the codes in use and those that went out of use since FHIR R4 was published.
const CURRENCIES: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF \
    CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD \
    GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP \
    LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN \
    PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS \
    TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XAG XAU XBA XBB XBC XBD \
    XCD XCG XDR XOF XPD XPF XPT XSU XTS XUA XXX YER ZAR ZMW ZWG ZWL";

/// ISO 3166-1: two letters, three letters, three digits.
const COUNTRIES: &str = "ADAND020 AEARE784 AFAFG004 AGATG028 AIAIA660 ALALB008 AMARM051 AOAGO024 AQATA010 ARARG032 ASASM016 ATAUT040 \
    AUAUS036 AWABW533 AXALA248 AZAZE031 BABIH070 BBBRB052 BDBGD050 BEBEL056 BFBFA854 BGBGR100 BHBHR048 BIBDI108 \
    BJBEN204 BLBLM652 BMBMU060 BNBRN096 BOBOL068 BQBES535 BRBRA076 BSBHS044 BTBTN064 BVBVT074 BWBWA072 BYBLR112 \
    BZBLZ084 CACAN124 CCCCK166 CDCOD180 CFCAF140 CGCOG178 CHCHE756 CICIV384 CKCOK184 CLCHL152 CMCMR120 CNCHN156 \
    COCOL170 CRCRI188 CUCUB192 CVCPV132 CWCUW531 CXCXR162 CYCYP196 CZCZE203 DEDEU276 DJDJI262 DKDNK208 DMDMA212 \
    DODOM214 DZDZA012 ECECU218 EEEST233 EGEGY818 EHESH732 ERERI232 ESESP724 ETETH231 FIFIN246 FJFJI242 FKFLK238 \
    FMFSM583 FOFRO234 FRFRA250 GAGAB266 GBGBR826 GDGRD308 GEGEO268 GFGUF254 GGGGY831 GHGHA288 GIGIB292 GLGRL304 \
    GMGMB270 GNGIN324 GPGLP312 GQGNQ226 GRGRC300 GSSGS239 GTGTM320 GUGUM316 GWGNB624 GYGUY328 HKHKG344 HMHMD334 \
    HNHND340 HRHRV191 HTHTI332 HUHUN348 IDIDN360 IEIRL372 ILISR376 IMIMN833 ININD356 IOIOT086 IQIRQ368 IRIRN364 \
    ISISL352 ITITA380 JEJEY832 JMJAM388 JOJOR400 JPJPN392 KEKEN404 KGKGZ417 KHKHM116 KIKIR296 KMCOM174 KNKNA659 \
    KPPRK408 KRKOR410 KWKWT414 KYCYM136 KZKAZ398 LALAO418 LBLBN422 LCLCA662 LILIE438 LKLKA144 LRLBR430 LSLSO426 \
    LTLTU440 LULUX442 LVLVA428 LYLBY434 MAMAR504 MCMCO492 MDMDA498 MEMNE499 MFMAF663 MGMDG450 MHMHL584 MKMKD807 \
    MLMLI466 MMMMR104 MNMNG496 MOMAC446 MPMNP580 MQMTQ474 MRMRT478 MSMSR500 MTMLT470 MUMUS480 MVMDV462 MWMWI454 \
    MXMEX484 MYMYS458 MZMOZ508 NANAM516 NCNCL540 NENER562 NFNFK574 NGNGA566 NINIC558 NLNLD528 NONOR578 NPNPL524 \
    NRNRU520 NUNIU570 NZNZL554 OMOMN512 PAPAN591 PEPER604 PFPYF258 PGPNG598 PHPHL608 PKPAK586 PLPOL616 PMSPM666 \
    PNPCN612 PRPRI630 PSPSE275 PTPRT620 PWPLW585 PYPRY600 QAQAT634 REREU638 ROROU642 RSSRB688 RURUS643 RWRWA646 \
    SASAU682 SBSLB090 SCSYC690 SDSDN729 SESWE752 SGSGP702 SHSHN654 SISVN705 SJSJM744 SKSVK703 SLSLE694 SMSMR674 \
    SNSEN686 SOSOM706 SRSUR740 SSSSD728 STSTP678 SVSLV222 SXSXM534 SYSYR760 SZSWZ748 TCTCA796 TDTCD148 TFATF260 \
    TGTGO768 THTHA764 TJTJK762 TKTKL772 TLTLS626 TMTKM795 TNTUN788 TOTON776 TRTUR792 TTTTO780 TVTUV798 TWTWN158 \
    TZTZA834 UAUKR804 UGUGA800 UMUMI581 USUSA840 UYURY858 UZUZB860 VAVAT336 VCVCT670 VEVEN862 VGVGB092 VIVIR850 \
    VNVNM704 VUVUT548 WFWLF876 WSWSM882 YEYEM887 YTMYT175 ZAZAF710 ZMZMB894 ZWZWE716";

/// ISO 639-1, and the two-letter subtags that BCP 47 still knows.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el \
    en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik in io is it \
    iu iw ja ji jv jw ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mo \
    mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh \
    si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh \
    yi yo za zh zu";

/// Whether a code belongs to a system; `None` where nobody here knows.
pub fn decides(system: &str, code: &str) -> Option<bool> {
    Some(match system {
        ucum::SYSTEM => ucum::valid(code),
        "urn:ietf:bcp:13" => media_type(code),
        "urn:ietf:bcp:47" => language_tag(code),
        "urn:iso:std:iso:4217" => CURRENCIES.split(' ').any(|currency| currency == code),
        "urn:iso:std:iso:3166" => country(code),
        "urn:iso:std:iso:3166:-2" => return subdivision(code).then_some(false),
        _ => return None,
    })
}

/// Whether a code of a system that a grammar decides passes a filter; `None` where nobody here knows.
pub fn passes(system: &str, filter: &Filter, code: &str) -> Option<bool> {
    match (system, &*filter.property, &*filter.op) {
        (ucum::SYSTEM, "canonical", "=") => Some(ucum::has_canonical(code, &filter.value)),
        (_, "code" | "concept", "regex") => filter.matches(code),
        (_, "code" | "concept", "=") => Some(*filter.value == *code),
        _ => None,
    }
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

/// A country by its two letters; some are for whoever wants to name one that is none.
pub fn is_country(code: &str) -> bool {
    let own = |code: &str| matches!(code.as_bytes(), [b'X', b'A'..=b'Z'] | [b'Q', b'M'..=b'Z'] | b"AA" | b"ZZ");
    code.len() == 2 && (country(code) || own(code))
}

/// ISO 3166-1 in any of its three forms.
fn country(code: &str) -> bool {
    let part = match (code.len(), code.bytes().all(|byte| byte.is_ascii_uppercase())) {
        (2, true) => 0..2,
        (3, true) => 2..5,
        (3, false) => 5..8,
        _ => return false,
    };
    COUNTRIES.split(' ').any(|country| &country[part.clone()] == code)
}

/// ISO 3166-2 is not listed here: this says whether a code cannot be one.
fn subdivision(code: &str) -> bool {
    let formed = code.split_once('-').is_some_and(|(country_code, rest)| {
        country_code.len() == 2
            && country(country_code)
            && (1..=3).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    !formed
}

/// The grammar of language tags (RFC 5646 §2.1), with two-letter languages and regions as they are registered.
fn language_tag(code: &str) -> bool {
    let mut subtags = code.split('-').peekable();
    let letters = |tag: &str| tag.bytes().all(|byte| byte.is_ascii_alphabetic());
    let characters = |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let Some(first) = subtags.next() else { return false };
    if matches!(first, "x" | "X" | "i" | "I") {
        return subtags.peek().is_some() && subtags.all(characters);
    }
    let known = match first.len() {
        2 => LANGUAGES.split(' ').any(|language| language.eq_ignore_ascii_case(first)),
        3..=8 => letters(first),
        _ => false,
    };
    if !known {
        return false;
    }
    let mut extended = 0;
    while extended < 3 && subtags.next_if(|tag| tag.len() == 3 && letters(tag)).is_some() {
        extended += 1;
    }
    subtags.next_if(|tag| tag.len() == 4 && letters(tag));
    let region =
        |tag: &&str| tag.len() == 2 && letters(tag) || tag.len() == 3 && tag.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(region) = subtags.next_if(region)
        && region.len() == 2
        && !country(&region.to_ascii_uppercase())
        && !matches!(region.to_ascii_uppercase().as_str(), "EU" | "UN" | "XK" | "AN" | "CS" | "YU" | "SU" | "ZZ" | "AA")
    {
        return false;
    }
    let variant = |tag: &&str| {
        (5..=8).contains(&tag.len()) && characters(tag)
            || tag.len() == 4 && characters(tag) && tag.starts_with(|first: char| first.is_ascii_digit())
    };
    while subtags.next_if(variant).is_some() {}
    // Extensions and private use: a singleton and at least one subtag.
    while let Some(singleton) = subtags.next() {
        if singleton.len() != 1 || !characters(singleton) {
            return false;
        }
        let private = singleton.eq_ignore_ascii_case("x");
        let mut count = 0;
        while subtags.next_if(|tag| characters(tag) && (private || tag.len() > 1)).is_some() {
            count += 1;
        }
        if count == 0 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(system: &str, yes: &[&str], no: &[&str]) {
        for code in yes {
            assert_eq!(decides(system, code), Some(true), "{system} {code}");
        }
        for code in no {
            assert_eq!(decides(system, code), Some(false), "{system} {code}");
        }
    }

    #[test]
    fn systems_are_judged_by_their_form() {
        check(ucum::SYSTEM, &["mm[Hg]"], &["bpm"]);
        check("urn:ietf:bcp:13", &["text/plain; charset=utf-8", "application/fhir+json", "xml"], &["text", "a b/c"]);
        check(
            "urn:ietf:bcp:47",
            &[
                "de",
                "de-CH",
                "zh-Hans-CN",
                "de-DE-1996",
                "es-419",
                "x-mine",
                "sl-rozaj-biske",
                "en-u-ca-buddhist",
                "gsw",
            ],
            &["", "xx", "de_CH", "en-QQ", "en-", "en-a", "-en", "e"],
        );
        check("urn:iso:std:iso:4217", &["EUR", "DKK"], &["eur", "EURO"]);
        check("urn:iso:std:iso:3166", &["DE", "DEU", "276"], &["de", "QQ", "D", "2766"]);
        check("urn:iso:std:iso:3166:-2", &[], &["DE", "QQ-1", "DE-ABCD"]);
        assert_eq!(decides("urn:iso:std:iso:3166:-2", "DE-BY"), None);
        assert_eq!(decides("http://snomed.info/sct", "1"), None);
    }

    #[test]
    fn filters_are_asked_of_the_code() {
        let filter = |property: &str, op: &str, value: &str| Filter::new(property, op, value);
        assert_eq!(passes(ucum::SYSTEM, &filter("canonical", "=", "m"), "[in_i]"), Some(true));
        assert_eq!(passes(ucum::SYSTEM, &filter("canonical", "=", "m"), "kg"), Some(false));
        assert_eq!(passes("urn:iso:std:iso:3166", &filter("code", "regex", "[A-Z]{2}"), "DEU"), Some(false));
        assert_eq!(passes(ucum::SYSTEM, &filter("property", "=", "length"), "m"), None);
    }
}
