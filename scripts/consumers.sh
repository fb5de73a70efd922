# Sourced by ./test: installs the programs that feeds are for, so that the tests have them read what is written.
# Only where root and apt-get are there. Where it fails the tests that need a program skip, and say so.

CONSUMERS="nft:nftables ipset:ipset iptables-restore:iptables dnsmasq:dnsmasq-base unbound:unbound named-checkzone:bind9-utils yara:yara haproxy:haproxy"

install_consumers() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  missing=
  for pair in $CONSUMERS; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
  done
  [ -n "$missing" ] || return 0
  echo "threat-cloud: installing what feeds are checked with:$missing" >&2
  install="apt-get -qq -o DPkg::Lock::Timeout=60 install -y --no-install-recommends $missing"
  # At run level 1 nothing that is installed is started.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $install >/dev/null 2>&1 ||
    { apt-get -qq update >/dev/null 2>&1 && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $install >/dev/null 2>&1; } ||
    echo "threat-cloud: could not install$missing; the tests that need them skip" >&2
}
