const page = document.getElementById("swagger-ui");
SwaggerUIBundle({ url: page.dataset.openapi, dom_id: "#swagger-ui", deepLinking: true, layout: "BaseLayout" });
