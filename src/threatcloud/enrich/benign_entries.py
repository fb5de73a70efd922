"""Entries of our own for the benign lists: facts owners publish, which the packaged lists lack or blur."""

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    """The words of a text; the rest of a line after ``#`` says what they are."""
    return tuple(word for line in text.splitlines() for word in line.partition("#")[0].split())


#: Resolvers for everybody; where a whole prefix is known to serve nothing but DNS, the prefix.
RESOLVERS: Final = _words("""
    1.0.0.0/24 1.1.1.0/24 2606:4700:4700::/48                      # Cloudflare
    8.8.4.0/24 8.8.8.0/24 2001:4860:4860::/48                      # Google
    9.9.9.0/24 149.112.112.0/24 2620:fe::/48                       # Quad9
    208.67.220.0/24 208.67.222.0/24 2620:119:35::/48 2620:119:53::/48  # OpenDNS
    94.140.14.0/24 94.140.15.0/24 2a10:50c0::/48                   # AdGuard
    185.228.168.0/24 185.228.169.0/24                              # CleanBrowsing
    76.76.2.0/24 76.76.10.0/24                                     # Control D
    45.90.28.0/24 45.90.30.0/24                                    # NextDNS
    194.242.2.0/24                                                 # Mullvad
    185.222.222.222 45.11.45.11                                    # DNS.SB
    64.6.64.6 64.6.65.6                                            # Vercara, formerly Verisign
    4.2.2.1 4.2.2.2 4.2.2.3 4.2.2.4 4.2.2.5 4.2.2.6                # Level 3
    77.88.8.1 77.88.8.2 77.88.8.3 77.88.8.7 77.88.8.8 77.88.8.88   # Yandex
    223.5.5.5 223.6.6.6 2400:3200::1 2400:3200:baba::1             # AliDNS
    119.29.29.29 114.114.114.114 114.114.115.115 180.76.76.76      # DNSPod, 114DNS, Baidu
""")

#: root-servers.org, a to m.
ROOT_SERVERS: Final = _words("""
    198.41.0.4 170.247.170.2 192.33.4.12 199.7.91.13 192.203.230.10 192.5.5.241 192.112.36.4 198.97.190.53
    192.36.148.17 192.58.128.30 193.0.14.129 199.7.83.42 202.12.27.33
    2001:503:ba3e::2:30 2801:1b8:10::b 2001:500:2::c 2001:500:2d::d 2001:500:a8::e 2001:500:2f::f
    2001:500:12::d0d 2001:500:1::53 2001:7fe::53 2001:503:c27::2:30 2001:7fd::1 2001:500:9f::42 2001:dc3::35
""")

#: What GitHub announces itself: web, API, git, pages and packages.
GITHUB: Final = _words("""
    140.82.112.0/20 143.55.64.0/20 185.199.108.0/22 192.30.252.0/22 2606:50c0::/32 2a0a:a440::/29
""")

#: Scanners whose owners say so where they connect from, or publish their ranges.
SCANNERS: Final = _words("""
    35.203.210.0/23 144.86.173.0/24 147.185.132.0/23 162.216.149.0/24 162.216.150.0/24   # Cortex Xpanse
    198.235.24.0/24 205.210.31.0/24                                                      # Cortex Xpanse
    66.132.148.0/24 66.132.153.0/24 66.132.159.0/24 162.142.125.0/24 167.94.138.0/24     # Censys
    167.94.145.0/24 167.94.146.0/24 167.248.133.0/24 199.45.154.0/23 206.168.32.0/22     # Censys
    64.39.96.0/20 139.87.112.0/23                                                        # Qualys
    71.6.233.0/24 5.63.151.96/27 88.202.190.128/27 109.123.117.224/27 146.185.25.160/27  # Rapid7
    87.236.176.0/24 193.163.125.0/24                                                     # Driftnet
    85.217.140.0/24 85.217.149.0/24                                                      # Modat
    146.88.240.0/24 216.180.246.0/24 185.242.226.0/24               # Arbor, Deepfield, Criminal IP
    171.67.70.0/23 141.212.120.0/22 141.212.124.0/23 138.246.253.0/24  # Stanford, Michigan, Munich
""")

#: Names below which one party runs everything, and no customer has a page, a bucket or a redirect of his own.
ZONES: Final = _words("""
    google.com youtube.com gstatic.com ggpht.com ytimg.com gvt1.com googlevideo.com google-analytics.com
    googletagmanager.com doubleclick.net googlesyndication.com googleadservices.com gmail.com googlemail.com
    chromium.org android.com pki.goog
    microsoft.com live.com msn.com bing.com office.com office.net office365.com outlook.com hotmail.com
    microsoftonline.com msauth.net msftauth.net msftconnecttest.com windows.com windowsupdate.com skype.com
    xbox.com xboxlive.com onedrive.com onenote.com
    apple.com icloud.com mzstatic.com cdn-apple.com aaplimg.com
    amazon.com amazon.ca amazon.cn amazon.co.jp amazon.co.uk amazon.com.au amazon.com.br amazon.com.mx
    amazon.de amazon.es amazon.fr amazon.in amazon.it amazon.nl amazontrust.com
    facebook.com fbcdn.net instagram.com messenger.com whatsapp.com whatsapp.net twitter.com twimg.com x.com
    linkedin.com licdn.com telegram.org discord.com spotify.com netflix.com nflxvideo.net yahoo.com
    paypal.com paypalobjects.com ebay.com visa.com mastercard.com dhl.com fedex.com ups.com usps.com
    github.com githubassets.com gitlab.com npmjs.com npmjs.org pypi.org pythonhosted.org python.org
    rubygems.org crates.io docker.com debian.org ubuntu.com kernel.org mozilla.org mozilla.net mozilla.com
    firefox.com wikipedia.org wikimedia.org
    adobe.com cisco.com dropbox.com hp.com ibm.com intel.com oracle.com samsung.com webex.com zoom.us
    cloudflare.com opendns.com quad9.net ntp.org iana.org icann.org root-servers.net gtld-servers.net
    digicert.com letsencrypt.org lencr.org globalsign.com globalsign.net sectigo.com usertrust.com
    comodoca.com entrust.net identrust.com
""")

#: Names that serve everybody's files, calls or look-ups, so that only a URL on them can be to blame.
PLATFORMS: Final = _words("""
    dns.google one.one.one.one cloudflare-dns.com dns.adguard-dns.com dns.nextdns.io dns.alidns.com doh.pub
    raw.githubusercontent.com gist.githubusercontent.com objects.githubusercontent.com
    release-assets.githubusercontent.com media.githubusercontent.com avatars.githubusercontent.com
    storage.googleapis.com firebasestorage.googleapis.com www.googleapis.com fonts.googleapis.com
    ajax.googleapis.com lh3.googleusercontent.com share.google
    cdn.discordapp.com media.discordapp.net dl.dropboxusercontent.com t.me telegram.me
    notion.com slack.com files.slack.com res.cloudinary.com cdn.jsdelivr.net unpkg.com
    ghcr.io registry-1.docker.io httpbin.org
""")
