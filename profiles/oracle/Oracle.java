import java.io.*;
import java.nio.file.*;
import java.util.*;
import org.hl7.fhir.r5.elementmodel.Manager.FhirFormat;
import org.hl7.fhir.utilities.validation.ValidationMessage;
import org.hl7.fhir.utilities.validation.ValidationMessage.IssueSeverity;
import org.hl7.fhir.validation.ValidationEngine;
import org.hl7.fhir.validation.instance.InstanceValidator;

/**
 * The HL7 validator over files whose names come on standard input, one line of file and errors, tab by tab, for each.
 * Arguments: the packages to load as NAME#VERSION, and files of single definitions.
 */
public class Oracle {
    public static void main(String[] arguments) throws Exception {
        PrintStream out = System.out;
        // The engine talks on standard output.
        System.setOut(System.err);
        ValidationEngine engine = new ValidationEngine.ValidationEngineBuilder()
            .withVersion("4.0.1").withTHO(false).withNoTerminologyServer().withCanRunWithoutTerminologyServer(true)
            .fromSource("hl7.fhir.r4.core#4.0.1");
        for (String argument : arguments) {
            if (argument.endsWith(".json")) {
                engine.seeResource(engine.loadResource(Files.readAllBytes(Paths.get(argument)), argument));
            } else {
                String[] named = argument.split("#");
                engine.loadPackage(named[0], named[1]);
            }
        }
        engine.setAnyExtensionsAllowed(true);
        engine.setAllowExampleUrls(true);
        // References of examples lead nowhere; that is no mistake of theirs.
        engine.getValidationControl().put("Type_Specific_Checks_DT_URL_Resolve",
            engine.getValidator(FhirFormat.JSON).new ValidationControl(false, IssueSeverity.INFORMATION));
        engine.prepare();
        BufferedReader files = new BufferedReader(new InputStreamReader(System.in));
        for (String file = files.readLine(); file != null; file = files.readLine()) {
            InstanceValidator validator = engine.getValidator(FhirFormat.JSON);
            List<ValidationMessage> messages = new ArrayList<>();
            byte[] bytes = Files.readAllBytes(Paths.get(file));
            validator.validate(null, messages, new ByteArrayInputStream(bytes), FhirFormat.JSON, new ArrayList<>());
            StringBuilder line = new StringBuilder(file);
            for (ValidationMessage message : messages) {
                if (message.getLevel() == IssueSeverity.ERROR || message.getLevel() == IssueSeverity.FATAL) {
                    line.append('\t').append(message.getLocation()).append(' ')
                        .append(message.getMessage().replaceAll("\\s+", " "));
                }
            }
            out.println(line);
        }
    }
}
