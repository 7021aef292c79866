//! A session with a PostgreSQL server, for threads that may wait.
//!
//! The protocol's machinery runs in the thread that asks, and only while it asks: an idle session costs nothing, and no
//! other thread has to be woken for an answer. A session that was lost is replaced when it is asked for the next time,
//! never in the middle of what somebody is doing. Each new one is asked whether the server keeps what it says it keeps;
//! a server that may lose what it has acknowledged is refused.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Row, SimpleQueryMessage, SimpleQueryRow, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::dialect::{of_many, rendered};
use super::{Fault, Kind, Result, Value};
use crate::store::fault::{OpenError, Unfit};

/// Statements are remembered; those made for a question of many parts come and go, so the memory has an end.
const STATEMENTS: usize = 512;
const CONNECT: Duration = Duration::from_secs(5);
/// After this long without a sign of life a connection counts as lost.
const SILENCE: Duration = Duration::from_secs(15);
/// A statement that waits for a lock or runs for longer is given up, and a transaction whose owner is silent for so long
/// is undone by the server, so that a gateway that hangs stands in nobody's way. Every question has its index: a plan
/// that was made while the tables were empty must not read them whole when they are full.
const SETTINGS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '10s'; SET enable_seqscan = off; SET jit = off;
    SET plan_cache_mode = force_generic_plan; SET client_min_messages = warning";

/// Where the server is, and how it is spoken to. It prints neither.
#[derive(Clone)]
pub(in crate::store) struct Address(Arc<Parts>);

struct Parts {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Address {
    /// Of a URL, the password that is not in it, and the certificates of the authorities that the server is known by.
    pub(in crate::store) fn new(
        url: &str,
        password: Option<&str>,
        ca: Option<&Path>,
    ) -> std::result::Result<Self, OpenError> {
        let mut config: Config = url.parse().map_err(|_| OpenError::Unfit(Unfit::Address))?;
        if let Some(password) = password {
            config.password(password);
        }
        let near = config.get_hosts().iter().all(is_near);
        config.ssl_mode(if ca.is_some() { SslMode::Require } else { SslMode::Disable });
        let tls = ca.map(trusting).transpose()?;
        if tls.is_none() && !near {
            return Err(OpenError::Unfit(Unfit::Plain));
        }
        config.application_name("mhealth-gateway").connect_timeout(CONNECT).tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE / 3).keepalives_interval(SILENCE / 3).keepalives_retries(2);
        Ok(Self(Arc::new(Parts { config, tls })))
    }
}

/// What is said to it leaves this machine on no wire.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    }
}

fn trusting(ca: &Path) -> std::result::Result<MakeRustlsConnect, OpenError> {
    let unusable = |_| OpenError::Unfit(Unfit::Authorities);
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(unusable)? {
        let certificate = certificate.map_err(unusable)?;
        roots.add(certificate).map_err(|_| OpenError::Unfit(Unfit::Authorities))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| OpenError::Unfit(Unfit::Authorities))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// A session; it is made anew when it was lost.
pub(in crate::store) struct Session {
    address: Address,
    line: RefCell<Option<Line>>,
}

impl Session {
    /// Must not be called where futures are polled, as nothing of a session.
    pub(in crate::store) fn open(address: &Address) -> std::result::Result<Self, OpenError> {
        let line = RefCell::new(Some(Line::open(address)?));
        Ok(Self { address: address.clone(), line })
    }

    /// One that is not connected yet.
    pub(in crate::store) fn later(address: &Address) -> Self {
        Self { address: address.clone(), line: RefCell::new(None) }
    }

    /// Makes sure that there is a connection, as far as one can tell without asking the server.
    pub(in crate::store) fn revive(&self) -> Result<()> {
        let mut line = self.line.borrow_mut();
        if line.as_mut().is_none_or(Line::is_lost) {
            *line = None;
            *line = Some(Line::open(&self.address).map_err(|error| Fault::Lost(io::Error::other(error)))?);
        }
        Ok(())
    }

    /// Ends the connection, and with it whatever was under way.
    pub(in crate::store) fn hang_up(&self) {
        *self.line.borrow_mut() = None;
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize> {
        self.asked(|line| {
            let statement = line.statement(sql, "")?;
            let Line { runtime, wire, client, .. } = line;
            let changed = runtime.wait(wire, client.execute_raw(&statement, values.iter().copied()));
            Ok(changed.map_err(sorted)? as usize)
        })
    }

    /// Sends a statement of which nothing is to be known but that it was done. What is asked next is sent after it without
    /// waiting for it, and fails if it did.
    pub(super) fn post(&self, sql: &str, values: &[Value<'_>]) -> Result<()> {
        let mut line = self.line.borrow_mut();
        let line = line.as_mut().ok_or_else(not_connected)?;
        let statement = line.statement(sql, "")?;
        let values: Vec<Owned> = values.iter().map(|value| value.owned()).collect();
        let client = line.client.clone();
        line.send(Box::pin(async move { client.execute_raw(&statement, values).await.map(drop) }))
    }

    /// The same of text that is no single statement.
    pub(in crate::store) fn post_batch(&self, sql: &'static str) -> Result<()> {
        let mut line = self.line.borrow_mut();
        let line = line.as_mut().ok_or_else(not_connected)?;
        let client = line.client.clone();
        line.send(Box::pin(async move { client.batch_execute(sql).await }))
    }

    pub(super) fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.asked(|line| line.returning(sql, "", values))
    }

    pub(super) fn insert(&self, sql: &str, column: &str, values: &[Value<'_>]) -> Result<Option<i64>> {
        let rows = self.asked(|line| line.returning(sql, column, values))?;
        rows.first().map(|row| row.try_get(0).map_err(sorted)).transpose()
    }

    /// The numbers of those rows that were added, by the key in their first column.
    pub(super) fn insert_each<const N: usize>(
        &self,
        sql: &str,
        key: &str,
        column: &str,
        rows: &[[Value<'_>; N]],
    ) -> Result<Vec<Option<i64>>> {
        let returning = format!(" RETURNING {key}, {column}");
        let mut numbers = Vec::with_capacity(rows.len());
        for rows in rows.chunks(AT_ONCE) {
            let added = self.asked(|line| {
                let statement = line.of_many(sql, &returning)?;
                let Line { runtime, wire, client, .. } = line;
                let lists = lists(rows, |value| value);
                let lists: Vec<_> = lists.iter().map(|list| list as &(dyn ToSql + Sync)).collect();
                runtime.wait(wire, client.query(&statement, &lists)).map_err(sorted)
            })?;
            let mut given = HashMap::with_capacity(added.len());
            for row in &added {
                given.insert(row.try_get::<_, &[u8]>(0).map_err(sorted)?, row.try_get(1).map_err(sorted)?);
            }
            for row in rows {
                numbers.push(given.remove(row[0].as_blob()?));
            }
        }
        Ok(numbers)
    }

    pub(super) fn post_each<const N: usize>(&self, sql: &str, rows: &[[Value<'_>; N]]) -> Result<()> {
        let mut line = self.line.borrow_mut();
        let line = line.as_mut().ok_or_else(not_connected)?;
        for rows in rows.chunks(AT_ONCE) {
            let statement = line.of_many(sql, "")?;
            let (client, lists) = (line.client.clone(), lists(rows, Value::owned));
            line.send(Box::pin(async move { client.execute_raw(&statement, lists).await.map(drop) }))?;
        }
        Ok(())
    }

    /// What is found for each of some keys.
    pub(super) fn query_each<const N: usize>(&self, sql: &str, keys: &[[Value<'_>; N]]) -> Result<Vec<Vec<Row>>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(ASKED) {
            found.extend(self.asked(|line| line.returning_each(sql, keys))?);
        }
        Ok(found)
    }

    pub(in crate::store) fn batch(&self, sql: &str) -> Result<()> {
        self.asked(|line| {
            let Line { runtime, wire, client, .. } = line;
            runtime.wait(wire, client.batch_execute(sql)).map_err(sorted)
        })
    }

    /// The same, of whose last answer the texts are wanted. A table that is gone means that the store is.
    pub(in crate::store) fn told(&self, sql: &str) -> Result<Vec<Option<String>>> {
        self.asked(|line| {
            let Line { runtime, wire, client, .. } = line;
            let messages = runtime.wait(wire, client.simple_query(sql)).map_err(|error| match error.code() {
                Some(code) if *code == SqlState::UNDEFINED_TABLE => Fault::Moved,
                _ => sorted(error),
            })?;
            let rows = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            let texts = |row: &SimpleQueryRow| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect();
            rows.last().map(texts).ok_or(Fault::NoRow)
        })
    }

    /// Begins to send many rows to a table at once. Of each column it is said whether it holds integers, or texts.
    pub(in crate::store) fn copy_in(
        &self,
        sql: &str,
        columns: impl Iterator<Item = (bool, bool)>,
    ) -> Result<CopyingIn<'_>> {
        let mut line = self.line.borrow_mut();
        let held = line.as_mut().ok_or_else(not_connected)?;
        held.settle()?;
        let Line { runtime, wire, client, .. } = held;
        let sink = runtime.wait(wire, client.copy_in(sql)).map_err(sorted)?;
        let types: Vec<Type> = columns
            .map(|of| match of {
                (true, _) => Type::INT8,
                (_, true) => Type::TEXT,
                _ => Type::BYTEA,
            })
            .collect();
        Ok(CopyingIn { line, writer: Box::pin(BinaryCopyInWriter::new(sink, &types)) })
    }

    /// Whether the server can run a statement with what is bound here, and answers what can be read here.
    #[cfg(test)]
    pub(in crate::store) fn understands(&self, sql: &str) -> Result<bool> {
        let statement = self.asked(|line| line.statement(sql, ""))?;
        let returned = statement.columns().iter().map(tokio_postgres::Column::type_);
        Ok(statement.params().iter().chain(returned).all(<Value<'_> as ToSql>::accepts))
    }

    fn asked<T>(&self, ask: impl FnOnce(&mut Line) -> Result<T>) -> Result<T> {
        let mut line = self.line.borrow_mut();
        let line = line.as_mut().ok_or_else(not_connected)?;
        let answer = ask(line);
        // What was sent before it was done before it. If that failed, so did this, and that says why.
        line.settle()?;
        answer
    }
}

/// Rows on their way into a table. Dropped before its end it puts none there.
pub(in crate::store) struct CopyingIn<'s> {
    line: RefMut<'s, Option<Line>>,
    writer: Pin<Box<BinaryCopyInWriter>>,
}

impl CopyingIn<'_> {
    pub(in crate::store) fn put(&mut self, values: &[Value<'_>]) -> Result<()> {
        let Line { runtime, wire, .. } = self.line.as_mut().ok_or_else(not_connected)?;
        let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        runtime.wait(wire, self.writer.as_mut().write(&values)).map_err(sorted)
    }

    pub(in crate::store) fn finish(mut self) -> Result<()> {
        let Line { runtime, wire, .. } = self.line.as_mut().ok_or_else(not_connected)?;
        runtime.wait(wire, self.writer.as_mut().finish()).map(drop).map_err(sorted)
    }
}

fn not_connected() -> Fault {
    Fault::Lost(io::ErrorKind::NotConnected.into())
}

type Running = Pin<Box<dyn Future<Output = std::result::Result<(), tokio_postgres::Error>> + Send>>;
/// What drives the connection: it ends when that does.
type Driver = Running;

/// Statements that were sent and not yet heard of; more are waited for.
const POSTED: usize = 512;
/// Questions that are asked before the first answer is read.
const ASKED: usize = 64;
/// Rows that one statement adds.
const AT_ONCE: usize = 512;

/// A statement that was sent.
enum Posted {
    Pending(Running),
    Done(std::result::Result<(), tokio_postgres::Error>),
}

/// What is under way.
struct Wire {
    /// None when the connection has ended.
    driver: Option<Driver>,
    /// Sent, in their order.
    posted: Vec<Posted>,
}

impl Wire {
    /// Does what can be done now. The connection hands on little that nobody takes, and whoever is behind would wait for
    /// ever: so what was sent before is heard of as well, whatever is waited for.
    fn attend(&mut self, context: &mut Context<'_>) {
        // That it ended is told by the client's futures.
        if self.driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
            self.driver = None;
        }
        for posted in &mut self.posted {
            if let Posted::Pending(statement) = posted
                && let Poll::Ready(done) = statement.as_mut().poll(context)
            {
                *posted = Posted::Done(done);
            }
        }
    }
}

struct Line {
    runtime: Engine,
    client: Arc<Client>,
    wire: Wire,
    /// By what they were written as, and the column that they return.
    statements: HashMap<Box<str>, Statement>,
}

impl Line {
    fn open(address: &Address) -> std::result::Result<Self, OpenError> {
        let Parts { config, tls } = &*address.0;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(OpenError::Thread)?;
        let failed = |error| OpenError::Database(sorted(error));
        let (client, driver): (Client, Driver) = if let Some(tls) = tls {
            let (client, connection) = runtime.block_on(config.connect(tls.clone())).map_err(failed)?;
            (client, Box::pin(connection))
        } else {
            let (client, connection) = runtime.block_on(config.connect(NoTls)).map_err(failed)?;
            (client, Box::pin(connection))
        };
        let mut line = Self {
            runtime: Engine(Some(runtime)),
            client: Arc::new(client),
            wire: Wire { driver: Some(driver), posted: Vec::new() },
            statements: HashMap::new(),
        };
        line.examine()?;
        Ok(line)
    }

    /// Asks on what durability rests.
    fn examine(&mut self) -> std::result::Result<(), OpenError> {
        let Self { runtime, wire, client, .. } = self;
        let failed = |error| OpenError::Database(sorted(error));
        runtime.wait(wire, client.batch_execute(SETTINGS)).map_err(failed)?;
        for (setting, wanted) in DURABLE {
            let sql = format!("SELECT current_setting('{setting}')");
            let found: String =
                runtime.wait(wire, client.query_one(&sql, &[])).and_then(|row| row.try_get(0)).map_err(failed)?;
            if !wanted.contains(&found.as_str()) {
                return Err(OpenError::Setting { setting, found });
            }
        }
        Ok(())
    }

    fn send(&mut self, mut statement: Running) -> Result<()> {
        let Self { runtime, wire, .. } = self;
        // The first look hands it over.
        let looked = runtime.wait(wire, poll_fn(|context| Poll::Ready(statement.as_mut().poll(context))));
        // What was handed to the connection is now put on the wire.
        runtime.wait(wire, std::future::ready(()));
        match looked {
            Poll::Ready(done) => done.map_err(sorted),
            Poll::Pending => {
                wire.posted.push(Posted::Pending(statement));
                if wire.posted.len() >= POSTED { self.settle() } else { Ok(()) }
            }
        }
    }

    /// Hears of everything that was sent.
    fn settle(&mut self) -> Result<()> {
        let Self { runtime, wire, .. } = self;
        let posted = std::mem::take(&mut wire.posted);
        let mut settled = Ok(());
        for statement in posted {
            let done = match statement {
                Posted::Pending(statement) => runtime.wait(wire, statement),
                Posted::Done(done) => done,
            };
            settled = settled.and(done.map_err(sorted));
        }
        settled
    }

    fn returning(&mut self, sql: &str, column: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let statement = self.statement(sql, column)?;
        let Self { runtime, wire, client, .. } = self;
        let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        runtime.wait(wire, client.query(&statement, &values)).map_err(sorted)
    }

    fn returning_each<const N: usize>(&mut self, sql: &str, keys: &[[Value<'_>; N]]) -> Result<Vec<Vec<Row>>> {
        let statement = self.statement(sql, "")?;
        let Self { runtime, wire, client, .. } = self;
        let values: Vec<[&(dyn ToSql + Sync); N]> =
            keys.iter().map(|key| key.each_ref().map(|value| value as &(dyn ToSql + Sync))).collect();
        let mut asked: Vec<_> = values.iter().map(|values| Box::pin(client.query(&statement, values))).collect();
        let mut found: Vec<Option<_>> = asked.iter().map(|_| None).collect();
        // Each is sent when it is first looked at.
        let all = poll_fn(|context| {
            for (asked, found) in asked.iter_mut().zip(&mut found).filter(|(_, found)| found.is_none()) {
                if let Poll::Ready(rows) = asked.as_mut().poll(context) {
                    *found = Some(rows);
                }
            }
            if found.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
        });
        runtime.wait(wire, all);
        found.into_iter().flatten().map(|rows| rows.map_err(sorted)).collect()
    }

    /// A statement that adds one row as one that adds many.
    fn of_many(&mut self, sql: &str, returning: &str) -> Result<Statement> {
        let name = format!("many: {sql}");
        if let Some(statement) = self.statements.get(name.as_str()) {
            return Ok(statement.clone());
        }
        let Self { runtime, wire, client, .. } = self;
        // The server knows of which types they are.
        let one = runtime.wait(wire, client.prepare(&rendered(sql))).map_err(sorted)?;
        let types: Vec<&str> = one.params().iter().map(Type::name).collect();
        let text = of_many(sql, &types) + returning;
        let statement = runtime.wait(wire, client.prepare(&text)).map_err(sorted)?;
        self.statements.insert(name.into(), statement.clone());
        Ok(statement)
    }

    fn statement(&mut self, sql: &str, column: &str) -> Result<Statement> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let mut text = rendered(sql);
        if !column.is_empty() {
            text.push_str(" RETURNING ");
            text.push_str(column);
        }
        let Self { runtime, wire, client, .. } = self;
        let statement = runtime.wait(wire, client.prepare(&text)).map_err(sorted)?;
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        self.statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }

    /// Looks at what has come in while nobody asked, such as the end.
    fn is_lost(&mut self) -> bool {
        let Self { runtime, wire, client, .. } = self;
        // Between the two steps the operating system is asked what is new.
        runtime.wait(wire, tokio::task::yield_now());
        wire.driver.is_none() || client.is_closed()
    }
}

/// Settings, and the values with which nothing acknowledged is lost.
const DURABLE: [(&str, &[&str]); 5] = [
    ("fsync", &["on"]),
    ("full_page_writes", &["on"]),
    ("synchronous_commit", &["on", "remote_apply"]),
    ("server_encoding", &["UTF8"]),
    ("transaction_read_only", &["off"]),
];

/// Runs futures in the thread that waits for them.
struct Engine(Option<Runtime>);

impl Engine {
    fn wait<F: Future>(&self, wire: &mut Wire, future: F) -> F::Output {
        let mut future = pin!(future);
        let both = poll_fn(|context| {
            wire.attend(context);
            future.as_mut().poll(context)
        });
        self.0.as_ref().expect("it is taken when it is dropped").block_on(both)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // There is nothing to wait for, and waiting is not allowed where futures are polled.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The rows' columns.
fn lists<'v, T, const N: usize>(rows: &[[Value<'v>; N]], of: impl Fn(Value<'v>) -> T) -> Vec<Vec<T>> {
    (0..N).map(|column| rows.iter().map(|row| of(row[column])).collect()).collect()
}

pub(super) fn kind(error: &tokio_postgres::Error) -> Kind {
    let Some(code) = error.code() else { return Kind::Other };
    match *code {
        SqlState::DISK_FULL => Kind::Full,
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED
        | SqlState::OUT_OF_MEMORY => Kind::Busy,
        _ => Kind::Other,
    }
}

/// Sorts by whether the session goes on.
fn sorted(error: tokio_postgres::Error) -> Fault {
    let gone = match error.code() {
        Some(code) => {
            // Class 57P: somebody ends the server; class 08: the connection.
            code.code().starts_with("57P")
                || code.code().starts_with("08")
                || *code == SqlState::TOO_MANY_CONNECTIONS
                || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        }
        None => {
            error.is_closed() || std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<io::Error>)
        }
    };
    if gone { Fault::Lost(io::Error::other(error)) } else { Fault::Postgres(error) }
}

/// A value that is sent later than its owner waits.
#[derive(Debug)]
enum Owned {
    Null,
    Integer(i64),
    Text(Box<str>),
    Blob(Box<[u8]>),
}

impl Value<'_> {
    fn owned(self) -> Owned {
        match self {
            Value::Null => Owned::Null,
            Value::Integer(number) => Owned::Integer(number),
            Value::Text(text) => Owned::Text(text.into()),
            Value::Blob(bytes) => Owned::Blob(bytes.into()),
        }
    }
}

impl ToSql for Owned {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
        .to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <Value<'_> as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match *self {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(number) if *ty == Type::BOOL => (number != 0).to_sql(ty, out),
            Value::Integer(number) if *ty == Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
            Value::Integer(number) => number.to_sql(ty, out),
            // The server's texts have every character but this one; what stands for it has no other use in texts.
            Value::Text(text) if text.contains('\0') => text.replace('\0', "\u{ffff}").to_sql(ty, out),
            Value::Text(text) => text.to_sql(ty, out),
            Value::Blob(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::BOOL | Type::INT4 | Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *ty {
            Type::BOOL => Value::Integer(bool::from_sql(ty, raw)?.into()),
            Type::INT4 => Value::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::TEXT => Value::Text(<&str>::from_sql(ty, raw)?),
            _ => Value::Blob(raw),
        })
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(ty: &Type) -> bool {
        <Value<'_> as ToSql>::accepts(ty)
    }
}
