//! `orchestrator scale`: more replicas of a running service, or fewer.

use std::num::NonZeroU32;

use orchestrator_core::ServiceName;
use orchestrator_views::control_api::wire::Scale;

use crate::Context;
use crate::exit_code::Code;
use crate::failure::Outcome;
use crate::output::note;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which services, each with how many replicas: web=3
    #[arg(required = true, value_name = "SERVICE=N", value_parser = wanted)]
    services: Vec<(ServiceName, NonZeroU32)>,
    /// Do not wait until it has come true
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.target.client(&context.embedded)?;
    for (service, replicas) in args.services {
        let wanted = Scale { service: service.clone(), replicas, wait: !args.no_wait };
        client.post("/v1/scale", &wanted).await?;
        let word = if replicas == NonZeroU32::MIN { "replica" } else { "replicas" };
        note(&format!("{service}: {replicas} {word}"));
    }
    Ok(Code::Ok)
}

fn wanted(text: &str) -> Result<(ServiceName, NonZeroU32), String> {
    let (name, number) = text.split_once('=').ok_or("write it as in web=3")?;
    let name = ServiceName::parse(name).map_err(|error| error.to_string())?;
    let replicas = number.parse().ok().filter(|number: &NonZeroU32| number.get() <= 1000);
    Ok((name, replicas.ok_or_else(|| format!("'{number}' is no number from 1 to 1000"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_service_and_a_number() {
        let web = ServiceName::parse("web").unwrap();
        assert_eq!(wanted("web=3"), Ok((web, NonZeroU32::new(3).unwrap())));
        for (text, expected) in [
            ("web", "write it as in web=3"),
            ("web=0", "'0' is no number from 1 to 1000"),
            ("web=1001", "'1001' is no number from 1 to 1000"),
            ("Web=1", "'W' cannot be in a name: lower-case letters, digits and '-' can"),
        ] {
            assert_eq!(wanted(text).unwrap_err(), expected);
        }
    }
}
