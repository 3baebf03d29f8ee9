import t from 'tap'

t.test('no test loads the compiler that package.json takes out of tap', (t) => {
  t.notMatch(t.pluginSignature, /@tapjs\/typescript/)
  t.notMatch(process.execArgv.join(' '), /@tapjs\/typescript/, 'run `node scripts/build-tap.mjs` before a first run')
  t.end()
})
