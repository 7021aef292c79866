//! What an operator says about a FHIR destination.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Base address of the FHIR endpoint, e.g. `https://platform.example/fhir`. Plain http only on loopback.
    pub url: String,
    /// How we prove who we are.
    #[serde(default)]
    pub auth: Auth,
    /// PEM file of the only certificate authorities to trust for this destination; the system's if absent.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Longest time for one whole exchange, request and answer.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Longest time until a connection stands.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Send resources that belong together as one transaction instead of one by one.
    #[serde(default)]
    pub batch: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Auth {
    #[default]
    None,
    /// SMART Backend Services: an access token for an assertion signed with our key.
    BackendServices(Credentials),
    /// Mutual TLS: PEM files of our certificate chain and its key.
    ClientCertificate { cert: PathBuf, key: PathBuf },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Token endpoint of the destination's authorization server.
    pub token_url: String,
    /// Under which we are registered there.
    pub client_id: String,
    /// PEM file (PKCS #8) of the P-384 key whose public half is registered there.
    pub private_key_pem: PathBuf,
    /// Id under which the public key is registered.
    pub kid: String,
    /// Scopes to ask for, separated by spaces.
    pub scope: String,
}

impl Config {
    /// Everything that is wrong, with the key it stands under. Files are read when the destination is opened.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        mistakes.extend(address(&self.url).err().map(|mistake| format!("url: {mistake}")));
        if let Auth::BackendServices(credentials) = &self.auth {
            mistakes.extend(address(&credentials.token_url).err().map(|mistake| format!("auth.token_url: {mistake}")));
            let Credentials { client_id, kid, scope, .. } = credentials;
            for (key, value) in [("client_id", client_id), ("kid", kid), ("scope", scope)] {
                if value.is_empty() {
                    mistakes.push(format!("auth.{key}: must not be empty"));
                }
            }
        }
        for (key, value) in [("timeout_ms", self.timeout_ms), ("connect_timeout_ms", self.connect_timeout_ms)] {
            if !(1..=600_000).contains(&value) {
                mistakes.push(format!("{key}: must lie between 1 and 600000"));
            }
        }
        mistakes
    }
}

/// An address that patient data and tokens may be sent to.
pub(super) fn address(text: &str) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("not an address: {error}"))?;
    let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err("must be https (plain http is for loopback only)".to_owned()),
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must have no query, fragment or credentials".to_owned());
    }
    Ok(url)
}

fn default_timeout_ms() -> u64 {
    30_000
}

fn default_connect_timeout_ms() -> u64 {
    5_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_every_mistake() {
        let config: Config = toml::from_str(
            "url = 'http://example.org/fhir'\ntimeout_ms = 0\n[auth]\nkind = 'backend-services'\n\
             token_url = 'https://u:p@example.org/token'\nclient_id = ''\nprivate_key_pem = 'k'\nkid = 'a'\nscope = 's'",
        )
        .expect("the keys are known");
        let keys: Vec<_> = config.mistakes().iter().map(|text| text.split(':').next().map(str::to_owned)).collect();
        assert_eq!(keys, ["url", "auth.token_url", "auth.client_id", "timeout_ms"].map(|key| Some(key.to_owned())));
    }

    #[test]
    fn refuses_unknown_keys() {
        assert!(toml::from_str::<Config>("url = 'https://a/'\nretries = 3").is_err());
        assert!(toml::from_str::<Config>("url = 'https://a/'\n[auth]\nkind = 'basic'").is_err());
        let plain: Config = toml::from_str("url = 'https://a/fhir'").expect("the rest has defaults");
        assert_eq!((plain.mistakes().len(), plain.timeout_ms), (0, 30_000));
    }
}
