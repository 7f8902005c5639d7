//! The bus's counters as Prometheus text (exposition format 0.0.4).

use std::fmt::Write as _;

use godvision_core::bus::{ComponentState, ComponentStatus};

/// Every component's and port's counters. Label values are names, which need no escaping beyond quotes.
pub fn prometheus(components: &[ComponentStatus]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: &mut dyn Iterator<Item = (String, f64)>| {
        let _ = writeln!(text, "# HELP godvision_{name} {help}\n# TYPE godvision_{name} {kind}");
        for (labels, value) in rows {
            let _ = writeln!(text, "godvision_{name}{{{labels}}} {value}");
        }
    };
    let of = |component: &ComponentStatus| format!("component=\"{}\",unit=\"{}\"", component.name, component.unit);
    family(
        "component_running",
        "gauge",
        "Whether the component runs.",
        &mut components.iter().map(|it| (of(it), f64::from(u8::from(it.state == ComponentState::Running)))),
    );
    family(
        "component_starts_total",
        "counter",
        "Times the component was started.",
        &mut components.iter().map(|it| (of(it), it.starts as f64)),
    );
    family(
        "component_faults_total",
        "counter",
        "Times the component ended with a fault or a panic.",
        &mut components.iter().map(|it| (of(it), it.faults as f64)),
    );
    family(
        "component_busy_seconds_total",
        "counter",
        "Time the component held signals it had taken.",
        &mut components.iter().map(|it| (of(it), it.busy.as_secs_f64())),
    );
    let counts = components.iter().flat_map(|it| it.counts.iter().map(move |count| (it, count)));
    family(
        "component_count",
        "gauge",
        "Counts that a component shows of its own work.",
        &mut counts.map(|(it, (name, value))| (format!("{},count=\"{name}\"", of(it)), *value as f64)),
    );
    let ports: Vec<_> = components.iter().flat_map(|component| &component.inputs).collect();
    let port = |it: &&godvision_core::bus::PortStatus| format!("port=\"{}\",signal=\"{}\"", it.port, it.signal.name);
    family(
        "port_accepted_total",
        "counter",
        "Signals put into the input's queue.",
        &mut ports.iter().map(|it| (port(it), it.accepted as f64)),
    );
    family(
        "port_accepted_bytes_total",
        "counter",
        "Payload bytes put into the input's queue.",
        &mut ports.iter().map(|it| (port(it), it.accepted_bytes as f64)),
    );
    family(
        "port_delivered_total",
        "counter",
        "Signals taken out by the component.",
        &mut ports.iter().map(|it| (port(it), it.delivered as f64)),
    );
    family(
        "port_queued",
        "gauge",
        "Signals in the input's queue.",
        &mut ports.iter().map(|it| (port(it), it.queued as f64)),
    );
    family(
        "port_waited_seconds_total",
        "counter",
        "Time that delivered signals spent in the queue.",
        &mut ports.iter().map(|it| (port(it), it.waited.as_secs_f64())),
    );
    let served = || ports.iter().filter_map(|it| it.served.map(|(count, time)| (it, count, time)));
    family(
        "port_served_total",
        "counter",
        "Signals that the component has let go of.",
        &mut served().map(|(it, count, _)| (port(it), count as f64)),
    );
    family(
        "port_service_seconds_mean",
        "gauge",
        "Mean time that the component held a signal.",
        &mut served().map(|(it, _, time)| (port(it), time.mean.as_secs_f64())),
    );
    family(
        "port_service_seconds_deviation",
        "gauge",
        "Standard deviation of the time that the component held a signal.",
        &mut served().map(|(it, _, time)| (port(it), time.deviation.as_secs_f64())),
    );
    let drops = ports.iter().flat_map(|it| it.dropped.iter().map(move |lost| (it, lost)));
    family(
        "port_dropped_total",
        "counter",
        "Signals lost at the input, by source and reason.",
        &mut drops.map(|(it, lost)| {
            let source = lost.source.as_ref().map_or("other", |source| source.as_str());
            (format!("{},source=\"{source}\",reason=\"{}\"", port(it), lost.reason.code()), lost.count as f64)
        }),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::Name;
    use godvision_core::bus::{DropCount, DropReason, Policy, PortStatus, ServiceTime};
    use godvision_core::signal::{Signal as _, media::Picture};
    use std::time::Duration;

    #[test]
    fn counters_are_written_with_their_labels() {
        let name = Name::new("yard/motion").unwrap();
        let port = PortStatus {
            port: name.port("pictures").unwrap(),
            signal: Picture::TYPE,
            policy: Policy::Latest,
            accepted: 7,
            accepted_bytes: 700,
            delivered: 5,
            dropped: vec![DropCount {
                source: Some(Name::new("yard").unwrap()),
                reason: DropReason::Superseded,
                count: 2,
            }],
            queued: 0,
            waited: Duration::from_millis(250),
            served: Some((5, ServiceTime::micros(2000, 500))),
        };
        let component = ComponentStatus {
            name,
            unit: "motion",
            state: ComponentState::Running,
            instance: 1,
            starts: 1,
            faults: 0,
            last_fault: None,
            busy: Duration::from_millis(1500),
            counts: vec![("pictures", 5)],
            inputs: vec![port],
        };
        let text = prometheus(&[component]);
        for line in [
            "godvision_component_running{component=\"yard/motion\",unit=\"motion\"} 1",
            "godvision_component_busy_seconds_total{component=\"yard/motion\",unit=\"motion\"} 1.5",
            "godvision_component_count{component=\"yard/motion\",unit=\"motion\",count=\"pictures\"} 5",
            "godvision_port_waited_seconds_total{port=\"yard/motion#pictures\",signal=\"picture\"} 0.25",
            "godvision_port_service_seconds_mean{port=\"yard/motion#pictures\",signal=\"picture\"} 0.002",
            "godvision_port_service_seconds_deviation{port=\"yard/motion#pictures\",signal=\"picture\"} 0.0005",
            "godvision_port_dropped_total{port=\"yard/motion#pictures\",signal=\"picture\",source=\"yard\",reason=\"superseded\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }
}
