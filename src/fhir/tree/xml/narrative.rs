//! Narrative between the two formats: in JSON it is a string that must mean the same on its own.

use super::scan::{Scanner, Token, split};
use super::{XHTML, syntax};
use crate::fhir::outcome::Issue;

/// Whether the outermost tag declares the namespace itself.
pub(super) fn declares(source: &str) -> bool {
    let tag = source.split('>').next().unwrap_or_default();
    tag.contains("xmlns=\"http://www.w3.org/1999/xhtml\"") || tag.contains("xmlns='http://www.w3.org/1999/xhtml'")
}

/// A narrative without prefixes, its namespace declared.
pub(super) fn freed(source: &str) -> Result<String, Issue> {
    let mut scanner = Scanner::new(source)?;
    let mut out = String::with_capacity(source.len() + 40);
    let mut copied = 0;
    while let Some(token) = scanner.next()? {
        // The end of an empty element is part of its start tag.
        if scanner.end() <= copied {
            continue;
        }
        let (start, end) = (scanner.start, scanner.end());
        out.push_str(&source[copied..start]);
        match token {
            Token::Open(tag) => {
                out.push('<');
                out.push_str(split(tag.name).1);
                if scanner.depth() == 1 {
                    out.extend([" xmlns=\"", XHTML, "\""]);
                }
                for attribute in &tag.attributes {
                    let (prefix, local) = split(attribute.name);
                    if attribute.name == "xmlns" || prefix == "xmlns" {
                        continue;
                    }
                    let quote = if attribute.value.contains('"') { "'" } else { "\"" };
                    let name = if prefix == "xml" { attribute.name } else { local };
                    out.extend([" ", name, "=", quote, attribute.value, quote]);
                }
                out.push_str(if source[..end].ends_with("/>") { "/>" } else { ">" });
            }
            Token::Close => {
                let name = source[start..end].trim_start_matches("</").trim_end_matches('>').trim();
                out.extend(["</", split(name).1, ">"]);
            }
            Token::Text | Token::Comment | Token::Instruction => out.push_str(&source[start..end]),
        }
        copied = end;
    }
    Ok(out.replace("\r\n", "\n").replace('\r', "\n"))
}

/// A narrative of a JSON string, fit for XML: the one HTML entity that narratives are full of has no meaning in XML
/// without a document type and becomes its character.
pub(super) fn checked(source: &str) -> Result<String, Issue> {
    let source = source.trim().replace("&nbsp;", "&#160;");
    let refused = || syntax("a narrative is not one XHTML div element");
    if !source.starts_with("<div") || !declares(&source) {
        return Err(refused());
    }
    let mut scanner = Scanner::new(&source)?;
    while let Some(token) = scanner.next()? {
        if let Token::Open(tag) = token
            && (tag.name.contains(':') || tag.attributes.iter().any(|each| !matches!(split(each.name).0, "" | "xml")))
        {
            return Err(syntax("a narrative uses prefixes or namespaces other than XHTML"));
        }
    }
    Ok(source)
}
