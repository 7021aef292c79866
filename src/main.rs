//! Arguments, telemetry, one command. Each command is a composition root of its own and answers an exit code.

use std::process::ExitCode;

use clap::Parser;
use mhealth_gateway::commands::{self, Arguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    commands::telemetry(&arguments);
    commands::end_with_reader();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mhealth-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
