//! Attachments: what is said of the data agrees with the data.

use super::super::run::Run;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Checks an Attachment.
pub fn check<'d>(run: &mut Run<'_, 'd>, attachment: Element<'d>) {
    let data = attachment.get("data").and_then(|data| data.string());
    let size = attachment.text_of("size").and_then(|text| text.parse::<usize>().ok());
    if let (Some(data), Some(size)) = (data, size) {
        let length = decoded_length(data);
        if length != size {
            let text = format!("The size must be that of the data, which has {length} bytes.");
            run.issue(Id::AttachmentSize, attachment, text);
        }
    }
    if ["data", "url", "contentType", "language"].iter().all(|name| attachment.get(name).is_none()) {
        let text = "An attachment has data or a url, or should at least say its contentType or language.";
        run.issue(Id::AttachmentEmpty, attachment, text.to_owned());
    }
}

/// Bytes that a Base64 text stands for.
pub fn decoded_length(data: &str) -> usize {
    let digits = data.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count();
    digits * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::super::super::{Options, Validator};
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    #[test]
    fn base64_has_a_length() {
        for (data, expected) in [("", 0), ("YQ==", 1), ("YWI=", 2), ("YWJj", 3), ("YWJj\n YWI=", 5)] {
            assert_eq!(decoded_length(data), expected, "{data}");
        }
    }

    #[test]
    fn sizes_agree_with_data() {
        let validator = Validator::new(Registry::core());
        for (attachment, expected) in [
            (r#"{"contentType":"text/plain","data":"YWJj","size":3}"#, None),
            (r#"{"contentType":"text/plain","data":"YWJj","size":4}"#, Some(Id::AttachmentSize)),
            (r#"{"contentType":"text/plain","size":4}"#, None),
            (r#"{"title":"x"}"#, Some(Id::AttachmentEmpty)),
        ] {
            let text = format!(
                r#"{{"resourceType":"Media","status":"completed","subject":{{"display":"x"}},"content":{attachment}}}"#
            );
            let document = json::parse(text).unwrap();
            let report = validator.check(Element::root(&document), &Options::default());
            let own = |id| matches!(id, Id::AttachmentSize | Id::AttachmentEmpty);
            let found = report.issues.iter().find(|issue| own(issue.id));
            assert_eq!(found.map(|issue| issue.id), expected, "{attachment}");
        }
    }
}
