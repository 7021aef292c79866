//! The app on the phone: a registered client that talks HTTPS and knows nothing of the gateway's inside.

use std::path::PathBuf;

use serde_json::Value;

use crate::commands::token;

/// A client with its connection and token.
pub(super) struct App {
    http: reqwest::Client,
    pub base: String,
    token_url: String,
    client: &'static str,
    key: PathBuf,
    bearer: String,
}

/// An answer.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl App {
    pub(super) async fn sign_in(
        http: reqwest::Client,
        base: String,
        client: &'static str,
        key: PathBuf,
    ) -> anyhow::Result<App> {
        let token_url = base.replace("/fhir", "/auth/token");
        let mut app = App { http, base, token_url, client, key, bearer: String::new() };
        app.renew().await?;
        Ok(app)
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        let pem = std::fs::read(&self.key)?;
        let asked = token::Asked { url: &self.token_url, client: self.client, kid: "key-1", pem: &pem, scope: None };
        self.bearer = token::fetch(&self.http, &asked).await?;
        Ok(())
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(super) async fn post(&self, path: &str, body: String) -> anyhow::Result<Answer> {
        self.send(self.http.post(format!("{}{path}", self.base)).body(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: String) -> anyhow::Result<Answer> {
        self.send(self.http.put(format!("{}{path}", self.base)).body(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let request = request.bearer_auth(&self.bearer).header("content-type", "application/fhir+json");
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null) })
    }
}
