//! The health check as a container runs it: the binary itself, on the gateway's own configuration.

use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::fixture::Gateway;

async fn check(base: &str, data: &Path) -> Output {
    let port = base.rsplit(':').next().and_then(|rest| rest.strip_suffix("/fhir")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_mhealth-gateway"))
        .args(["health", "--timeout-seconds", "30"])
        .env("MHEALTH_LISTEN", format!("127.0.0.1:{port}"))
        .env("MHEALTH_DATA", data)
        .output()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_whether_the_gateway_is_ready() {
    let gateway = Gateway::start().await;
    let base = gateway.base.clone();
    let well = check(&base, gateway.path()).await;
    assert!(well.status.success(), "{well:?}");
    assert_eq!(String::from_utf8_lossy(&well.stdout).trim(), r#"{"status":"ready"}"#);
    let directory = gateway.stop().await;
    let ill = check(&base, directory.path()).await;
    assert_eq!(ill.status.code(), Some(1), "{ill:?}");
}
