//! `munadi health`: asks a node whether it may be sent calls. For health checks of containers and services.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::cli::{Failure, tell};
use crate::rpc::READY_SERVICE;

/// Bytes of an answer's head that are read: the status is in the first line.
const HEAD_BYTES: usize = 64;

#[derive(Debug, Args)]
pub(super) struct HealthArguments {
    /// Address and port of the node's gRPC door. One that stands for all of the machine's is asked on loopback.
    #[arg(long, value_name = "ADDR:PORT", env = "MUNADI_LISTEN", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// What is asked for, by the names of grpc.health.v1: `munadi.ready` is whether calls may be sent there, an
    /// empty name whether it is there at all.
    #[arg(long, value_name = "NAME", default_value = READY_SERVICE)]
    service: String,
    /// Ask the page of [metrics] at this address instead, which speaks plain HTTP where the door speaks TLS.
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Seconds after which no answer is an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

/// Asks, says what was answered, and fails unless it was good.
pub(super) fn run(arguments: &HealthArguments) -> Result<ExitCode, Failure> {
    let patience = Duration::from_secs(arguments.timeout);
    let answered = match arguments.metrics {
        Some(page) => ask_page(reachable(page), patience),
        None => ask_door(reachable(arguments.listen), &arguments.service, patience),
    };
    let (word, code) = match answered {
        Ok(word) if word == "SERVING" => (word, ExitCode::SUCCESS),
        Ok(word) => (word, ExitCode::FAILURE),
        Err(failure) => (format!("no answer: {failure}"), ExitCode::FAILURE),
    };
    tell(std::io::stdout(), word);
    Ok(code)
}

/// Returns where a listener can be reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask_door(door: SocketAddr, service: &str, patience: Duration) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = async {
        let endpoint = Endpoint::from_shared(format!("http://{door}"))?.connect_timeout(patience);
        let mut health = HealthClient::new(endpoint.connect().await?);
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await?;
        Ok::<_, Failure>(answer.into_inner().status().as_str_name().to_owned())
    };
    runtime.block_on(async { tokio::time::timeout(patience, asked).await })?
}

fn ask_page(page: SocketAddr, patience: Duration) -> Result<String, Failure> {
    let mut socket = TcpStream::connect_timeout(&page, patience)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    write!(socket, "GET /ready HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    socket.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let is_good = head.starts_with(b"HTTP/1.1 200 ");
    Ok(if is_good { "SERVING" } else { "NOT_SERVING" }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_stands_for_all_is_asked_on_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:7700", "127.0.0.1:7700"),
            ("[::]:7700", "[::1]:7700"),
            ("10.0.0.7:7700", "10.0.0.7:7700"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn the_words_are_those_of_the_protocol() {
        use tonic_health::pb::health_check_response::ServingStatus;
        assert_eq!(ServingStatus::Serving.as_str_name(), "SERVING");
        assert_eq!(ServingStatus::NotServing.as_str_name(), "NOT_SERVING");
    }
}
