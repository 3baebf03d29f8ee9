/** Loaded into a benchmarked server: answers each 'cpu' message with the seconds of CPU time that it has used. */
process.on('message', (message) => {
  if (message !== 'cpu') return
  const { user, system } = process.cpuUsage()
  process.send?.({ cpu: (user + system) / 1e6 })
})
