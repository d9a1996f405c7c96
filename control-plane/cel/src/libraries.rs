//! The libraries' functions, by the examples of their documentation.

use crate::tests::{all_fail, all_true};

#[test]
fn conversions() {
    all_true(&[
        "int('12') == 12 && int(12u) == 12 && int(-1.9) == -1 && int(timestamp('1970-01-01T00:01:00Z')) == 60",
        "uint('12') == 12u && uint(12) == 12u && uint(1.9) == 1u",
        "double('1.5') == 1.5 && double(2) == 2.0",
        "string(12) == '12' && string(1.5) == '1.5' && string(true) == 'true' && string(b'abc') == 'abc' && string(1e6) == '1e+06'",
        "string(1.0) == '1' && string(0.00001) == '1e-05' && string(123456.5) == '123456.5'",
        "string(duration('1h30m')) == '5400s' && string(timestamp('2026-01-02T03:04:05Z')) == '2026-01-02T03:04:05Z'",
        "bool('true') && !bool('0') && bytes('é') == b'\\xc3\\xa9' && dyn(1) == 1",
    ]);
    all_fail(&[
        ("int('a') == 1", "type conversion error from 'string' to 'int'"),
        ("int(1e19) == 1", "integer overflow"),
        ("uint(-1) == 1u", "unsigned integer overflow"),
        ("int(18446744073709551615u) == 1", "integer overflow"),
        ("string(b'\\xff') == ''", "invalid UTF-8"),
        ("bool('yes')", "type conversion error"),
    ]);
}

#[test]
fn times() {
    all_true(&[
        "timestamp('2026-01-02T03:04:05Z') < timestamp('2026-01-02T03:04:05.001Z')",
        "timestamp('2026-01-02T00:00:00Z') + duration('36h') == timestamp('2026-01-03T12:00:00Z')",
        "timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('24h')",
        "timestamp('2026-01-02T03:04:05.678Z').getHours() == 3 && timestamp('2026-01-02T03:04:05.678Z').getMilliseconds() == 678",
        "timestamp('2026-01-02T03:04:05Z').getMonth() == 0 && timestamp('2026-01-02T03:04:05Z').getDate() == 2",
        "timestamp('2026-01-02T03:04:05Z').getDayOfMonth() == 1 && timestamp('2026-01-02T03:04:05Z').getDayOfYear() == 1",
        "timestamp('2026-01-04T03:04:05Z').getDayOfWeek() == 0 && timestamp('2026-01-02T23:04:05Z').getHours('+02:00') == 1",
        "timestamp('2026-01-02T03:04:05Z').getMinutes('-05:30') == 34",
        "duration('1h30m').getHours() == 1 && duration('1h30m').getMinutes() == 90 && duration('1.5s').getMilliseconds() == 1500",
        "duration('-1.5h') == duration('-90m') && duration('1h') > duration('59m59s') && duration('0') == duration('0s')",
    ]);
    all_fail(&[
        ("timestamp('2026-01-02T03:04:05Z').getHours('Mars/Base') == 1", "unknown time zone"),
        ("timestamp(text) == timestamp(0)", "cannot parse"),
        ("duration(text) == duration('0')", "invalid duration"),
        ("timestamp('9999-12-30T00:00:00Z') + duration('72h') == timestamp(0)", "timestamp overflow"),
    ]);
}

#[test]
fn strings() {
    all_true(&[
        "'hello'.startsWith('he') && 'hello'.endsWith('lo') && 'hello'.contains('ll')",
        "'héllo'.charAt(1) == 'é' && 'hello'.charAt(5) == ''",
        "'hello mellow'.indexOf('ello') == 1 && 'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.indexOf('jello') == -1 && 'hello'.indexOf('') == 0",
        "'hello mellow'.lastIndexOf('ello') == 7 && 'hello mellow'.lastIndexOf('ello', 6) == 1 && 'hello mellow'.lastIndexOf('') == 12",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'TacoCÆt Xii'.upperAscii() == 'TACOCÆT XII'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello' && 'ab'.replace('', '_') == '_a_b_'",
        "'hello hello'.replace('he', 'we', -1) == 'wello wello' && 'hello'.replace('l', '', 0) == 'hello'",
        "'a b c'.split(' ') == ['a', 'b', 'c'] && 'a b c'.split(' ', 2) == ['a', 'b c'] && 'a b'.split(' ', 0) == [] && 'ab'.split('') == ['a', 'b']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && 'ta©o©αT'.substring(2, 6) == '©o©α'",
        "'  \\ttrim\\n '.trim() == 'trim' && ['x', 'y'].join() == 'xy' && ['x', 'y'].join('-') == 'x-y' && [].join('-') == ''",
        "strings.quote('a\"b\\n') == '\"a\\\\\"b\\\\n\"'",
        "'%s is %d and %.2f, %e'.format(['x', 3, 1.5, 1234.5]) == 'x is 3 and 1.50, 1.234500e+03'",
        "'%b %o %x %X %x'.format([5, 8, 255, 255, 'hi']) == '101 10 ff FF 6869' && '100%%'.format([]) == '100%'",
        "'%s'.format([[1, 2]]) == '[1, 2]' && '%s'.format([{'b': 1, 'a': 2}]) == '{a: 2, b: 1}' && '%s'.format([null]) == 'null'",
    ]);
    all_fail(&[
        ("'hello'.charAt(6) == ''", "index out of range: 6"),
        ("'hello'.substring(3, 2) == ''", "invalid substring range. start: 3, end: 2"),
        ("'hello'.indexOf('l', 9) == 1", "index out of range: 9"),
        ("'%d'.format(['x']) == ''", "could not parse formatting clause"),
        ("'%s %s'.format(['x']) == ''", "index out of range"),
    ]);
}

#[test]
fn lists_sets_and_patterns() {
    all_true(&[
        "[1, 2, 3].isSorted() && !['b', 'a'].isSorted() && [].isSorted()",
        "[1, 3].sum() == 4 && [1.0, 3.0].sum() == 4.0 && [].sum() == 0 && [duration('1m'), duration('1s')].sum() == duration('61s')",
        "[1, 3].max() == 3 && ['b', 'a'].min() == 'a' && [1, 2, 2, 3].indexOf(2) == 1 && [1, 2, 2, 3].lastIndexOf(2) == 2 && [1.0].indexOf(2.0) == -1",
        "sets.contains([1, 2, 3], [2, 1]) && sets.equivalent([1, 2, 2], [2, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([], [1])",
        "'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == '' && '1 2 3'.findAll('[0-9]') == ['1', '2', '3'] && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']",
        "'abc'.matches('^a.c$') && matches('abc', 'b') && text.matches(text)",
    ]);
    all_fail(&[("[].max() == 1", "max called on empty list"), ("text.matches(text + '(')", "error parsing regexp")]);
}

#[test]
fn urls() {
    all_true(&[
        "url('https://example.com:80/path').getHost() == 'example.com:80' && url('https://example.com:80/').getHostname() == 'example.com'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80' && url('/path').getScheme() == ''",
        "url('https://example.com/päth').getEscapedPath() == '/p%C3%A4th' && url('https://example.com:80/').getPort() == '80'",
        "url('https://example.com/a?k=1&k=2&x=a%20b').getQuery() == {'k': ['1', '2'], 'x': ['a b']}",
        "isURL('https://user:pass@example.com/') && !isURL('../relative') && !isURL('http://a:port/') && isURL('/absolute')",
    ]);
    all_fail(&[("url('../relative').getHost() == ''", "URL parse error")]);
}

#[test]
fn quantities() {
    all_true(&[
        "quantity('1.5Gi').isInteger() && quantity('50k') == quantity('50000') && !quantity('100m').isInteger() && quantity('50k').asInteger() == 50000",
        "quantity('1Mi').compareTo(quantity('1M')) == 1 && quantity('150Mi').isGreaterThan(quantity('100Mi')) && quantity('1').isLessThan(quantity('2'))",
        "quantity('50k').add(20) == quantity('50020') && quantity('50k').sub(quantity('20k')) == quantity('30k')",
        "quantity('-5').sign() == -1 && quantity('9.6k').asApproximateFloat() == 9600.0 && isQuantity('1.3Gi') && !isQuantity('1.3Gb')",
    ]);
    all_fail(&[
        ("quantity('100m').asInteger() == 0", "cannot convert value to integer"),
        ("quantity('x') == quantity('1')", "quantities must match"),
    ]);
}

#[test]
fn addresses() {
    all_true(&[
        "ip('127.0.0.1').isLoopback() && ip('::').isUnspecified() && ip('fe80::1').isLinkLocalUnicast() && ip('224.0.0.1').isLinkLocalMulticast()",
        "ip('192.168.0.1').isGlobalUnicast() && ip('2001:db8::1').family() == 6 && isIP('127.0.0.1') && !isIP('127.0.0.01') && !isIP('::ffff:1.2.3.4')",
        "ip('127.0.0.1') == ip('127.0.0.1') && ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')",
        "cidr('192.168.0.0/24').containsIP('192.168.0.1') && cidr('192.168.0.0/24').containsIP(ip('192.168.0.1')) && !cidr('192.168.0.0/24').containsIP('192.168.1.1')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.0.0.0/16').containsCIDR(cidr('10.0.0.0/8')) && cidr('192.168.0.5/24').masked() == cidr('192.168.0.0/24')",
        "cidr('::1/128').prefixLength() == 128 && cidr('192.168.0.5/24').ip() == ip('192.168.0.5') && isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33')",
        "string(ip('::1')) == '::1' && string(cidr('10.0.0.0/8')) == '10.0.0.0/8' && type(ip('::1')) == net.IP",
    ]);
    all_fail(&[("ip('x') == ip('::1')", "parse error"), ("cidr('10.0.0.0') == cidr('10.0.0.0/8')", "parse error")]);
}

#[test]
fn versions_and_formats() {
    all_true(&[
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3 && isSemver('1.2.3-alpha.1+b')",
        "semver('1.2.3').isLessThan(semver('1.2.4')) && semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1')) && semver('1.2.3').compareTo(semver('1.2.3+x')) == 0",
        "semver('v1.2', true) == semver('1.2.0') && semver('01.02.03', true) == semver('1.2.3') && !isSemver('v1.2') && !isSemver('1.2')",
        "!format.dns1123Label().validate('my-label').hasValue() && format.dns1123Label().validate('My').value()[0].startsWith('a lowercase RFC 1123 label')",
        "format.named('dns1123Subdomain').value().validate('a.b') == optional.none() && format.named('nothing') == optional.none()",
        "!format.qualifiedName().validate('example.com/name').hasValue() && format.labelValue().validate('a b').hasValue()",
        "!format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue() && format.date().validate('2021-02-30').hasValue()",
        "!format.datetime().validate('2021-01-01T00:00:00Z').hasValue() && !format.byte().validate('aGVsbG8=').hasValue() && format.uri().validate('::').hasValue()",
        "!format.dns1035LabelPrefix().validate('prefix-').hasValue() && format.dns1035Label().validate('1a').hasValue()",
    ]);
}
