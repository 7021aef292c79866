//! What an operator says about a FHIR destination.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Base address of the FHIR endpoint, e.g. `https://platform.example/fhir`. Plain http only on loopback.
    pub url: String,
    /// Where it is asked about persons, if not there.
    #[serde(default)]
    pub lookup_url: Option<String>,
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
    /// IHE IUA (ITI-71, client credentials): an access token for one person's record at a time.
    Iua(Iua),
    /// OAuth 2.0 authorization code: each person allows the destination to take what is hers from us.
    Citizen(Citizen),
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
    /// Id under which the public key is registered; its thumbprint (RFC 7638) if absent.
    #[serde(default)]
    pub kid: Option<String>,
    /// Scopes to ask for, separated by spaces.
    pub scope: String,
    /// Whether tokens are bound to a key of this process (RFC 9449).
    #[serde(default)]
    pub dpop: bool,
    /// PEM files of our certificate chain and its key, where the connection wants them as well.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// The token is exchanged for another one (RFC 8693).
    #[serde(default)]
    pub exchange: Option<Exchange>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    pub token_url: String,
    #[serde(default)]
    pub audience: Option<String>,
    #[serde(default)]
    pub resource: Option<String>,
    #[serde(default)]
    pub scope: Option<String>,
}

/// How a technical user acts for somebody who answers for it, as the Swiss EPR wants it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iua {
    pub token_url: String,
    pub client_id: String,
    /// File of the secret that was agreed.
    pub secret_file: PathBuf,
    /// What is asked for besides the claims about person, role and purpose.
    pub scope: String,
    /// Address of the service that the token is for; the destination's if absent.
    #[serde(default)]
    pub audience: Option<String>,
    /// Name and GLN of the professional who answers for what is sent.
    pub principal: String,
    pub principal_id: String,
    /// Role and purpose, as `system|code`.
    #[serde(default = "technical_user")]
    pub subject_role: String,
    #[serde(default = "automatic")]
    pub purpose_of_use: String,
    #[serde(default)]
    pub cert: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// What links to persons are made by.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Citizen {
    /// Where the person signs in.
    pub authorize_url: String,
    pub token_url: String,
    /// Where a token is given back (RFC 7009), if it can be.
    #[serde(default)]
    pub revoke_url: Option<String>,
    /// Where the request is left before the person is sent there (RFC 9126), if it is wanted so.
    #[serde(default)]
    pub par_url: Option<String>,
    pub client_id: String,
    pub scope: String,
    #[serde(default)]
    pub private_key_pem: Option<PathBuf>,
    #[serde(default)]
    pub kid: Option<String>,
    /// File of the secret that was agreed.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    #[serde(default)]
    pub cert: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
    #[serde(default)]
    pub identity: Option<IdentitySource>,
}

/// Where the destination says under which name it knows the person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySource {
    /// System of the identifier, as the pack names it.
    pub system: String,
    /// A claim of the id token (OpenID Connect Core 1.0), or a member of the token response such as SMART's `patient`.
    #[serde(default)]
    pub claim: Option<String>,
    #[serde(default)]
    pub member: Option<String>,
    /// Of the id token: who issues it, and where its keys are.
    #[serde(default)]
    pub issuer: Option<String>,
    #[serde(default)]
    pub jwks_url: Option<String>,
}

impl Auth {
    /// PEM files of our certificate chain and its key, where there are any.
    pub(super) fn certificate(&self) -> Option<(&PathBuf, &PathBuf)> {
        match self {
            Auth::None => None,
            Auth::ClientCertificate { cert, key } => Some((cert, key)),
            Auth::BackendServices(Credentials { cert, key, .. })
            | Auth::Citizen(Citizen { cert, key, .. })
            | Auth::Iua(Iua { cert, key, .. }) => cert.as_ref().zip(key.as_ref()),
        }
    }

    /// Every file of it, by its key.
    pub fn files(&self) -> Vec<(&'static str, &PathBuf)> {
        let (key, secret) = match self {
            Auth::BackendServices(own) => (Some(&own.private_key_pem), None),
            Auth::Citizen(citizen) => (citizen.private_key_pem.as_ref(), citizen.secret_file.as_ref()),
            Auth::Iua(iua) => (None, Some(&iua.secret_file)),
            Auth::None | Auth::ClientCertificate { .. } => (None, None),
        };
        let (cert, own) = self.certificate().unzip();
        let all = [("private_key_pem", key), ("secret_file", secret), ("cert", cert), ("key", own)];
        all.into_iter().filter_map(|(key, file)| Some((key, file?))).collect()
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut addresses: Vec<(&str, &str)> = Vec::new();
        let mut texts: Vec<(&str, &str)> = Vec::new();
        let pair = |cert: &Option<PathBuf>, key: &Option<PathBuf>| {
            (cert.is_some() != key.is_some()).then(|| "auth.cert: cert and key go together".to_owned())
        };
        match self {
            Auth::None | Auth::ClientCertificate { .. } => {}
            Auth::BackendServices(own) => {
                addresses.push(("token_url", &own.token_url));
                texts.extend([("client_id", own.client_id.as_str()), ("scope", &own.scope)]);
                texts.extend(own.kid.as_deref().map(|kid| ("kid", kid)));
                addresses.extend(own.exchange.as_ref().map(|other| ("exchange.token_url", other.token_url.as_str())));
                mistakes.extend(pair(&own.cert, &own.key));
            }
            Auth::Iua(own) => {
                addresses.push(("token_url", &own.token_url));
                addresses.extend(own.audience.as_deref().map(|audience| ("audience", audience)));
                texts.extend([("client_id", own.client_id.as_str()), ("scope", &own.scope)]);
                texts.extend([("principal", own.principal.as_str()), ("principal_id", &own.principal_id)]);
                mistakes.extend(pair(&own.cert, &own.key));
                for (key, token) in [("subject_role", &own.subject_role), ("purpose_of_use", &own.purpose_of_use)] {
                    if !token.split_once('|').is_some_and(|(system, code)| !system.is_empty() && !code.is_empty()) {
                        mistakes.push(format!("auth.{key}: expected is system|code"));
                    }
                }
            }
            Auth::Citizen(own) => {
                addresses.extend([("authorize_url", own.authorize_url.as_str()), ("token_url", &own.token_url)]);
                let more = [("revoke_url", &own.revoke_url), ("par_url", &own.par_url)];
                addresses.extend(more.into_iter().filter_map(|(key, url)| Some((key, url.as_deref()?))));
                texts.extend([("client_id", own.client_id.as_str()), ("scope", &own.scope)]);
                mistakes.extend(pair(&own.cert, &own.key));
                if own.private_key_pem.is_some() && own.secret_file.is_some() {
                    mistakes.push("auth.secret_file: there is a private_key_pem already".to_owned());
                }
                mistakes.extend(own.identity.iter().filter_map(|identity| identity.mistake(&own.scope)));
            }
        }
        let wrong = |(key, url): (&str, &str)| Some(format!("auth.{key}: {}", address(url).err()?));
        let mut all: Vec<String> = addresses.into_iter().filter_map(wrong).collect();
        let empty = texts.iter().filter(|(_, text)| text.is_empty());
        all.extend(empty.map(|(key, _)| format!("auth.{key}: must not be empty")));
        all.extend(mistakes);
        all
    }
}

impl IdentitySource {
    fn mistake(&self, scope: &str) -> Option<String> {
        let says = |text: &str| Some(format!("auth.identity: {text}"));
        let Self { system, claim, member, issuer, jwks_url } = self;
        match (claim, member) {
            (Some(_), None) if issuer.is_none() || jwks_url.is_none() => says("a claim needs issuer and jwks_url"),
            (Some(_), None) if !scope.split(' ').any(|scope| scope == "openid") => {
                says("a claim needs the scope openid")
            }
            (Some(_), None) | (None, Some(_)) if system.is_empty() => says("system must not be empty"),
            (Some(_), None) => {
                address(jwks_url.as_deref()?).err().and_then(|mistake| says(&format!("jwks_url: {mistake}")))
            }
            (None, Some(_)) => None,
            _ => says("either claim or member says where the identity stands"),
        }
    }
}

impl Config {
    /// Everything that is wrong, with the key it stands under. Files are read when the destination is opened.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        mistakes.extend(address(&self.url).err().map(|mistake| format!("url: {mistake}")));
        let lookups = self.lookup_url.as_deref().and_then(|url| address(url).err());
        mistakes.extend(lookups.map(|mistake| format!("lookup_url: {mistake}")));
        mistakes.extend(self.auth.mistakes());
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

fn technical_user() -> String {
    "urn:oid:2.16.756.5.30.1.127.3.10.6|TCU".to_owned()
}

fn automatic() -> String {
    "urn:oid:2.16.756.5.30.1.127.3.10.5|AUTO".to_owned()
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
