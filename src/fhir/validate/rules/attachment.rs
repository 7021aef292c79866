//! Attachments: what they say of their content agrees with the content that they carry (R4 §2.24.0.9).

use super::super::run::Run;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Checks the stated size against the data, where both are there.
pub fn check<'d>(run: &mut Run<'_, 'd>, element: Element<'d>) {
    let stated = element.text_of("size").and_then(|text| text.parse::<usize>().ok());
    let (Some(stated), Some(data)) = (stated, element.text_of("data")) else { return };
    if stated != decoded_length(data) {
        let text = "The size must be the number of bytes that the data holds before it is written in base64.";
        run.issue(Id::AttachmentSize, element, text.to_owned());
    }
}

/// Length of what a base64 text stands for.
fn decoded_length(data: &str) -> usize {
    let digits = data.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').count();
    digits * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_base64() {
        for (data, expected) in [("", 0), ("TQ==", 1), ("TWE=", 2), ("TWFu", 3), ("TWFu TWE=", 5)] {
            assert_eq!(decoded_length(data), expected, "{data}");
        }
    }
}
