fetch(process.env.TEST_ORIGIN + "/admin.html").then(async (answer) => {
  if ((await answer.text()) !== "admin") throw new Error(`status ${answer.status}`)
})
