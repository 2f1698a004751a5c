"""The chat endpoint as plain classes: what a request asks for, who answers, what goes over HTTP."""
