const { log } = require("orchestrator");

exports.start = async () => log.info(`node: ${process.version} is up`);
exports.close = () => console.log("node: bye");
