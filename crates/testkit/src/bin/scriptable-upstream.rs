//! The scriptable upstream as a program, for load tests and for tests in other languages.

use std::net::SocketAddr;

use clap::Parser;
use testkit::{Options, Upstream};

/// A scriptable upstream that speaks the OpenAI API.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address.
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The key that calls must carry.
    #[arg(long)]
    key: Option<String>,
    /// Record nothing: for load.
    #[arg(long)]
    no_record: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let options = Options {
        listen: arguments.listen,
        workers: arguments.workers,
        key: arguments.key,
        record: !arguments.no_record,
    };
    let upstream = Upstream::start(options);
    println!("{}", upstream.url());
    loop {
        std::thread::park();
    }
}
