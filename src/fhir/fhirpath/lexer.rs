//! FHIRPath text to tokens (FHIRPath §3, §4.1; grammar in its appendix A).
//!
//! Keywords stay identifiers here, because `is`, `as`, `contains` and `in` are also element names; the parser
//! knows where an operator can stand.

use rust_decimal::Decimal;

use super::Syntax;
use super::temporal::Temporal;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Identifier(String),
    /// Written in backticks: never a keyword.
    Delimited(String),
    Text(String),
    Integer(i64),
    Decimal(Decimal),
    Temporal(Temporal),
    /// `$this`, `$index`, `$total`, without the dollar.
    Variable(String),
    /// `%name`, without the percent sign.
    External(String),
    Symbol(&'static str),
    End,
}

/// As an author reads it: what stands there, without what kind of token it is.
impl std::fmt::Display for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Identifier(name) => write!(formatter, "`{name}`"),
            Token::Delimited(name) => write!(formatter, "the name `{name}`"),
            Token::Text(text) => write!(formatter, "the text '{text}'"),
            Token::Integer(number) => write!(formatter, "the number {number}"),
            Token::Decimal(number) => write!(formatter, "the number {number}"),
            Token::Temporal(time) => write!(formatter, "the time {time}"),
            Token::Variable(name) => write!(formatter, "`${name}`"),
            Token::External(name) => write!(formatter, "`%{name}`"),
            Token::Symbol(symbol) => write!(formatter, "`{symbol}`"),
            Token::End => formatter.write_str("the end"),
        }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 23] = [
    "!=", "!~", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "+", "-", "*", "/", "|", "&", "=", "~", "<", ">",
    ";",
];

/// The tokens with their byte offsets; the last one is `End`.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Syntax> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks()?;
        let start = lexer.at;
        let token = lexer.token()?;
        let last = token == Token::End;
        tokens.push((start, token));
        if last {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, Syntax> {
        Err(Syntax { offset: self.at, what: what.into() })
    }

    /// Takes the longest run of matching characters.
    fn run(&mut self, matches: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|character| !matches(character)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes `text` if it stands here.
    fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_blanks(&mut self) -> Result<(), Syntax> {
        loop {
            self.run(char::is_whitespace);
            if self.take("//") {
                self.run(|character| character != '\n');
            } else if self.rest().starts_with("/*") {
                let Some(end) = self.rest().find("*/") else { return self.error("the comment is not closed") };
                self.at += end + 2;
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token, Syntax> {
        let Some(first) = self.peek() else { return Ok(Token::End) };
        match first {
            'a'..='z' | 'A'..='Z' | '_' => Ok(Token::Identifier(self.identifier().to_owned())),
            '0'..='9' => self.number(),
            '\'' => Ok(Token::Text(self.quoted('\'')?)),
            '`' => Ok(Token::Delimited(self.quoted('`')?)),
            '@' => self.temporal(),
            '$' => {
                self.at += 1;
                Ok(Token::Variable(self.identifier().to_owned()))
            }
            '%' => {
                self.at += 1;
                let name = match self.peek() {
                    Some(quote @ ('`' | '\'' | '"')) => self.quoted(quote)?,
                    // R4 writes `%vs-name` unquoted in places.
                    _ => self.run(|character| character.is_ascii_alphanumeric() || "_-".contains(character)).to_owned(),
                };
                if name.is_empty() { self.error("a name must follow %") } else { Ok(Token::External(name)) }
            }
            // No token of the language, and yet written in published invariants; the reference validator reads a text.
            '"' => Ok(Token::Text(self.quoted('"')?)),
            _ => match SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Ok(Token::Symbol(symbol))
                }
                None => self.error(format!("`{first}` has no meaning here")),
            },
        }
    }

    fn identifier(&mut self) -> &'t str {
        self.run(|character| character.is_ascii_alphanumeric() || character == '_')
    }

    fn number(&mut self) -> Result<Token, Syntax> {
        let start = self.at;
        self.run(|character| character.is_ascii_digit());
        let fraction = self.rest().strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if fraction {
            self.at += 1;
            self.run(|character| character.is_ascii_digit());
        }
        let text = &self.text[start..self.at];
        if !fraction && let Ok(value) = text.parse() {
            return Ok(Token::Integer(value));
        }
        match Decimal::from_str_exact(text) {
            Ok(value) => Ok(Token::Decimal(value)),
            Err(_) => self.error("the number has more digits than can be kept exactly"),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Syntax> {
        self.at += 1;
        let mut text = String::new();
        loop {
            text.push_str(self.run(|character| character != quote && character != '\\'));
            if self.take("\\") {
                text.push(self.escape()?);
            } else if self.peek().is_some() {
                self.at += 1;
                return Ok(text);
            } else {
                return self.error(format!("{quote} is not closed"));
            }
        }
    }

    fn escape(&mut self) -> Result<char, Syntax> {
        let Some(character) = self.peek() else { return self.error("the text ends inside an escape") };
        self.at += character.len_utf8();
        Ok(match character {
            '\'' | '"' | '`' | '\\' | '/' => character,
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.hex()?;
                let code = if (0xD800..0xDC00).contains(&high) && self.take("\\u") {
                    let low = self.hex()?;
                    0x10000 + ((high - 0xD800) << 10) + low.wrapping_sub(0xDC00) % 0x400
                } else {
                    high
                };
                match char::from_u32(code) {
                    Some(character) => character,
                    None => return self.error("the escape is half of a surrogate pair"),
                }
            }
            _ => return self.error(format!("\\{character} is no escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, Syntax> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                self.at += 4;
                Ok(value)
            }
            None => self.error("\\u needs four hexadecimal digits"),
        }
    }

    /// `@2015-02-04T14:34:28.123+10:00`, `@2015T`, `@T14:34`. Only as much is taken as has that form, because
    /// `@2015.is(Date)` and `@2015 - 1 year` go on.
    fn temporal(&mut self) -> Result<Token, Syntax> {
        self.at += 1;
        let start = self.at;
        let digits = |lexer: &mut Self| lexer.run(|character| character.is_ascii_digit()).len();
        let mut dated = false;
        if self.peek() != Some('T') {
            dated = true;
            digits(self);
            while self.rest().starts_with('-') && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) {
                self.at += 1;
                digits(self);
            }
        }
        let clocked = self.take("T");
        if clocked {
            digits(self);
            while self.rest().starts_with(':') {
                self.at += 1;
                digits(self);
            }
            if self.rest().starts_with('.') && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) {
                self.at += 1;
                digits(self);
            }
            if !self.take("Z") && self.offset_follows() {
                self.at += 6;
            }
        }
        let text = &self.text[start..self.at];
        let value = match (dated, clocked) {
            (true, false) => Temporal::date(text),
            (true, true) => Temporal::date_time(text),
            _ => Temporal::time(&text[clocked.into()..]),
        };
        if let Some(value) = value {
            return Ok(Token::Temporal(value));
        }
        self.at = start;
        self.error("this is no date or time")
    }

    fn offset_follows(&self) -> bool {
        let bytes = self.rest().as_bytes();
        bytes.len() >= 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && [1, 2, 4, 5].into_iter().all(|at| bytes[at].is_ascii_digit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Token]) {
        let tokens = tokens(text).unwrap().into_iter().map(|(_, token)| token).collect::<Vec<_>>();
        assert_eq!(tokens[..tokens.len() - 1], *expected, "{text}");
    }

    #[test]
    fn reads_tokens() {
        let name = |text: &str| Token::Identifier(text.into());
        check("a.b", &[name("a"), Token::Symbol("."), name("b")]);
        check("1.5 /* x */ <= 2 // y", &[Token::Decimal(Decimal::new(15, 1)), Token::Symbol("<="), Token::Integer(2)]);
        check("1.a", &[Token::Integer(1), Token::Symbol("."), name("a")]);
        check(r"'P\u0065\n' `is`", &[Token::Text("Pe\n".into()), Token::Delimited("is".into())]);
        check("%`vs-x` $this", &[Token::External("vs-x".into()), Token::Variable("this".into())]);
        check("@2015T.x", &[Token::Temporal(Temporal::date_time("2015T").unwrap()), Token::Symbol("."), name("x")]);
    }

    #[test]
    fn refuses_what_is_no_token() {
        for text in
            ["'a", "/* a", "@2015-13", "'\\q'", "#", "%", "@T14:34:28+10:00", "1.99999999999999999999999999999999"]
        {
            assert!(tokens(text).is_err(), "{text}");
        }
    }
}
